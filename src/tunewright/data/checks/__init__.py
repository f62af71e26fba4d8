"""What is looked for in rows, one module per check; ``table.py`` lists them in their order."""
