"""Downloads of public files: `doa data fetch`."""
