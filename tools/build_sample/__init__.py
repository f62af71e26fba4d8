"""Assembles the sample job: a legal-questions spreadsheet and its locked test set.

Run `python -m tools.build_sample` to write the files that ship in
`tunewright.samples.legal_assistant`, or with `--check` to compare them with a fresh build.
"""
