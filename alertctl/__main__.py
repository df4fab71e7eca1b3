"""`python -m alertctl`."""

from alertctl.cli import run

if __name__ == "__main__":
    run()
