"""From the hand-written sentences to the two files that ship."""

from tools.build_sample import checks
from tools.build_sample.dirt import dirty_threads
from tools.build_sample.draw import shuffled
from tools.build_sample.export import to_csv
from tools.build_sample.locked_test import locked_rows, to_jsonl
from tools.build_sample.situations import load_common_replies, load_situations
from tools.build_sample.spreadsheet import threads
from tools.build_sample.synonyms import load_exchanges


def build(encoding: str = "gb18030") -> dict[str, bytes]:
    """Return file name → content: the spreadsheet in `encoding` and the locked test set.

    Raises `checks.SampleError` when the sentences break a rule of the sample.
    """
    situations = load_situations()
    exchanges = load_exchanges()
    checks.check_situations(situations)
    checks.check_exchanges(situations, exchanges)
    clean = threads(situations, load_common_replies())
    mixed = shuffled(clean + dirty_threads(clean), "export")
    rows = [row for thread in mixed for row in thread]
    test = locked_rows(situations, exchanges)
    checks.check_unseen(rows, test)
    checks.check_cleaned(rows, situations)
    return {"legal_qa.csv": to_csv(rows, encoding), "test.jsonl": to_jsonl(test)}
