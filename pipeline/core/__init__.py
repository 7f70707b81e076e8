"""What every room may import: params, records, errors, digests. No third-party weight."""
