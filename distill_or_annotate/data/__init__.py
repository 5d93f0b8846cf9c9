"""A data set from its official files to rows: building, fetching, checking."""
