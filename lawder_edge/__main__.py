"""`python -m lawder_edge` is `lawder-edge`; what `accelerate launch -m lawder_edge train ...` starts."""

from lawder_edge.cli.main import main

if __name__ == "__main__":
    main()
