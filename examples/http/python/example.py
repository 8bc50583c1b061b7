"""Submit a task through a client that is generated from the OpenAPI document, and wait for it.

bulkhead openapi > openapi.json
openapi-python-client generate --meta none --path openapi.json --output-path bulkhead_client
python example.py http://127.0.0.1:8080
"""

import os
import sys

from bulkhead_client import AuthenticatedClient, Client
from bulkhead_client.api.tasks import submit_task, wait_for_task
from bulkhead_client.models import TaskRequest


def main() -> None:
    base_url = sys.argv[1]
    token = os.environ.get("BULKHEAD_TOKEN")
    client = AuthenticatedClient(base_url, token) if token else Client(base_url)
    request = TaskRequest.from_dict({"type": "echo", "payload": {"hello": ["from", "python"]}})
    sent = submit_task.sync(client=client, body=request)
    task = wait_for_task.sync(queue=sent.queue, id=sent.id, client=client, timeout="30s")
    while task.state != "completed":
        task = wait_for_task.sync(queue=sent.queue, id=sent.id, client=client, timeout="30s")
    print(f"{task.state}: {task.output.json}")


main()
