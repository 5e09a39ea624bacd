"""Uses the client that openapi-python-client has made of the service's own document: uploads, converts, reads, refuses."""
import io
import sys
import time

folder, url = sys.argv[1:]
sys.path.insert(0, folder)
from made import Client  # noqa: E402
from made.api.jobs import jobs_list, jobs_read, jobs_submit  # noqa: E402
from made.api.pipelines import pipelines_read, pipelines_submit  # noqa: E402
from made.api.uploads import uploads_receive  # noqa: E402
from made.models import InputRef, Job, JobRequest, PipelineRequest, PipelineRequestSteps, ProblemDocument, State, StepRequest  # noqa: E402
from made.types import File  # noqa: E402

client = Client(base_url=url)
upload = uploads_receive.sync(client=client, body=File(payload=io.BytesIO(b"hello")), name="a.txt")
job = jobs_submit.sync(client=client, body=JobRequest(input_=InputRef(upload=upload.id), to="noop"))
assert isinstance(job, Job), job
job = jobs_read.sync(job.id, client=client, wait="60s")
assert job.state == State.SUCCEEDED and job.outputs[0].name == "a.noop", job
assert [found.id for found in jobs_list.sync(client=client, text="a.txt").jobs] == [job.id]
refused = jobs_submit.sync(client=client, body=JobRequest(input_=InputRef(upload="nobody"), to="noop"))
assert isinstance(refused, ProblemDocument) and refused.field == "input.upload", refused

steps = PipelineRequestSteps()
steps["one"] = StepRequest(input_=InputRef(upload=upload.id), to="noop")
pipeline = pipelines_submit.sync(client=client, body=PipelineRequest(steps=steps))
deadline = time.monotonic() + 60
while pipeline.state == State.RUNNING and time.monotonic() < deadline:
    pipeline = pipelines_read.sync(pipeline.id, client=client, wait="10s")
assert pipeline.state == State.SUCCEEDED and pipeline.stats.done == 1, pipeline
print("done")
