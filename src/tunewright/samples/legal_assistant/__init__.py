"""A legal-questions spreadsheet (`legal_qa.csv`, GB18030) and its locked test (`test.jsonl`)."""
