"""``python -m secondthought.cli``."""

from secondthought.cli import main

main()
