"""The app's own workers: `manage.py run_worker photos circles`."""
