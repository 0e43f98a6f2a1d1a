import json
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import rest


def call(method, path, body=None):
    data = body and body.model_dump_json(exclude_unset=True).encode()
    request = Request(sys.argv[1] + path, data=data, method=method, headers={"content-type": "application/json"})
    with urlopen(request) as answer:
        return answer.read()


wish = {"user_identity": "ada", "metadata": {"tags": ["demo"], "robot": "r2", "floor": 3}, "required_services": [], "optional_services": ["asr", {"type": "TTS"}]}
made = rest.CreatedSession.model_validate_json(call("POST", "/api/v1/sessions", rest.SessionRequest.model_validate(wish)))
path = f"/api/v1/sessions/{made.session_id}"
update = rest.UpdateSessionBody.model_validate({"visibility": "shared", "metadata_updates": {"gone": None}})
rest.UpdateSessionReply.model_validate_json(call("PATCH", path, update))
session = rest.Session.model_validate_json(call("GET", path))
try:
    call("GET", "/api/v1/sessions/nothing")
except HTTPError as refusal:
    error = rest.ErrorResponse.model_validate_json(refusal.read())
said = {key: session.metadata[key] for key in ("tags", "robot", "floor")}
print(json.dumps({"status": session.status.value, **said, "visibility": session.visibility.value, "error": error.code}))
