"""Tunewright: from a spreadsheet to a served model, with evidence.

Stages: prepare → train → evaluate → deploy. Each takes a config and a store and returns a frozen
record that names its parents. A package imports only what stands to its right:

    cli  >  api  >  demo  >  jobs  >  deployment  >  data | training | evaluation  >  model
    >  config  >  core
"""

__version__ = "0.1.0"
