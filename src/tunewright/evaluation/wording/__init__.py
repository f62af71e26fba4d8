"""Every sentence an evaluation says, in English and Chinese, declared once."""
