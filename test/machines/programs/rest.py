import json
import sys

import gateway
from gateway.models import SessionMetadata, SessionRequest, UpdateSessionBody, UpdateSessionBodyMetadataUpdates

api = gateway.SessionsApi(gateway.ApiClient(gateway.Configuration(host=sys.argv[1])))
metadata = SessionMetadata(tags=["demo"], additional_properties={"robot": "r2", "floor": 3})
wanted = ["asr", {"type": "TTS"}]
made = api.create_session(SessionRequest(user_identity="ada", metadata=metadata, required_services=[], optional_services=wanted))
changes = UpdateSessionBodyMetadataUpdates(additional_properties={"gone": None})
api.update_session(made.session_id, UpdateSessionBody(visibility="shared", metadata_updates=changes))
session = api.get_session(made.session_id)
try:
    api.get_session("nothing")
except gateway.ApiException as refusal:
    code = json.loads(refusal.body)["code"]
said = {key: session.metadata[key] for key in ("tags", "robot", "floor")}
print(json.dumps({"status": session.status, **said, "visibility": session.visibility, "error": code}))
