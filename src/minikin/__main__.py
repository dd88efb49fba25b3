"""`python -m minikin` is `minikin`."""

from minikin.app.cli import main

main()
