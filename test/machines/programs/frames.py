import json
import sys

import frames_ as frames
from websockets.sync.client import connect

with open(sys.argv[2]) as file:
    golden = json.load(file)
refused = []
for case in golden:
    try:
        getattr(frames, case["name"]).model_validate(case["frame"])
    except Exception as error:
        refused.append(f"{case['name']}: {error}")

with connect(sys.argv[1].replace("http", "ws") + "/ws") as socket:

    def say(frame):
        socket.send(frame.model_dump_json(exclude_unset=True))

    wish = {"type": "NewSessionRequest", "user_identity": "ada", "metadata": {"tags": ["demo"]}, "required_services": [], "optional_services": [{"type": "TTS"}]}
    say(frames.NewSessionRequest.model_validate(wish))
    made = frames.NewSessionResponse.model_validate_json(socket.recv())
    say(frames.GetSessionRequest(type="GetSessionRequest"))
    session = frames.GetSessionResponse.model_validate_json(socket.recv())
    say(frames.Ping(type="Ping", t=1))
    pong = frames.Pong.model_validate_json(socket.recv())
print(json.dumps({"status": session.status.value, "tags": session.metadata["tags"], "first": made.type, "pong": pong.t == 1, "refused": refused}))
