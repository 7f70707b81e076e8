"""What has effects: the Prefect flow, servers, GPU leases, versions in git and DVC."""
