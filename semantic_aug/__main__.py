"""``python -m semantic_aug`` is ``semantic-aug``."""

from semantic_aug.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
