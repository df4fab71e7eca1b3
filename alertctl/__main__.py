"""`python -m alertctl`."""

from alertctl.cli import main

if __name__ == "__main__":
    main()
