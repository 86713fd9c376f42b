"""`python -m enterprise_gateway` is `jupyter enterprisegateway`."""

from enterprise_gateway.app import main

if __name__ == "__main__":
    main()
