"""``python -m cielo.cli``."""

from cielo.cli import main

if __name__ == "__main__":
    main()
