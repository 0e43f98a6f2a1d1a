#!/usr/bin/env python3
"""A whole service in Python: run it beside a gateway, and a session that wants it becomes Ready.

    pip install websockets            # Debian: apt-get install python3-websockets
    python3 scripts/demo/service.py ws://127.0.0.1:8080/ws asr

Where the gateway requires a credential, GATEWAY_TOKEN has it: in the environment, not among the arguments, which everybody on the machine can read.

When its socket breaks it reconnects and registers with its sessions, which go on. Ctrl-C leaves every session.
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
import uuid
from contextlib import asynccontextmanager, suppress

import websockets


@asynccontextmanager
async def session(join, progress):
    """Your part: one session. The service is ready at `yield`, has failed if this raises, and leaves after `yield`."""
    await progress("joining", 10)
    # from livekit import rtc            # pip install livekit
    # room = rtc.Room()
    # await room.connect(join["livekit_url"], join["access_token"])
    # await room.local_participant.set_attributes({"lk.agent.state": "listening"})  # LiveKit's UI waits for it
    await progress("loading the model", 50, "1 of 2 files")
    try:
        yield
    finally:
        pass  # await room.disconnect()


# the largest frame that the gateway sends; the library's default limit may be lower
MAX_FRAME = 262_144
# seconds: the gateway's grace period for a service that serves sessions, and the longest delay between attempts meanwhile
GRACE, MAX_DELAY = 5, 1
# websockets 14 has renamed it
HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"
# why it is over for good, where that is known
STOP = {
    401: "GATEWAY_TOKEN is not valid, or has expired",
    404: "there is no gateway at this URL; its path is usually /ws",
    4401: "GATEWAY_TOKEN is not valid",
    4460: "GATEWAY_TOKEN has expired",
}


class ServedSession:
    """A session this service accepted and has not left."""

    def __init__(self, join):
        self.held = {name: join[name] for name in ("session_id", "assignment_id")}
        self.is_ready = False
        self.is_answered = False  # the gateway knows that it is ready
        self.task = None


class Service:
    def __init__(self, url, service_id, token=None):
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.service_id = service_id
        self.instance_id = str(uuid.uuid4())  # constant, so that after a break it takes over its own registration
        self.socket = None  # the one it is registered on
        self.served = {}  # by assignment_id
        self.failures = 0  # breaks and failed attempts since it was registered last
        self.broken_at = 0

    async def run(self):
        """Stays connected until it is cancelled, which leaves every session, or until reconnecting cannot help."""
        while True:
            code = 1006
            try:
                options = {"ping_interval": 10, "ping_timeout": 10, "max_size": MAX_FRAME, HEADERS: self.headers}
                async with websockets.connect(self.url, **options) as socket:
                    try:
                        await self.talk(socket)
                    except asyncio.CancelledError:
                        await self.leave_all()
                        raise
                    finally:
                        if self.socket:
                            self.broken_at = time.monotonic()
                        self.socket = None
                        code = socket.close_code
            except (OSError, asyncio.TimeoutError, websockets.InvalidHandshake, websockets.ConnectionClosed) as error:
                say(f"no connection: {error}")
                status = status_of(error)
                if 400 <= status < 500 and status not in (408, 425, 429):
                    sys.exit(f"refused with {status}: {STOP.get(status, 'another attempt cannot help')}")
            if code in STOP or not (code in (1001, 1006, 1008, 1011, 1012, 1013, 1014) or 4450 <= code <= 4599):
                sys.exit(f"closed with {code}: {STOP.get(code, 'reconnecting cannot help')}")
            # random, so that all services of a gateway do not reconnect in step
            in_grace = self.served and time.monotonic() - self.broken_at < GRACE
            await asyncio.sleep(random.uniform(0, min(MAX_DELAY if in_grace else 20, 0.5 * 2**self.failures)))
            self.failures += 1

    async def talk(self, socket):
        who = {"service_id": self.service_id, "instance_id": self.instance_id, "metadata": {"type": self.service_id.upper()}}
        held = [served.held for served in self.served.values()]
        await socket.send(json.dumps({"type": "RegisterServiceRequest", "id": "register", "held": held, **who}))
        async for text in socket:
            frame = json.loads(text)
            # unknown types are ignored
            handle = getattr(self, f"on_{frame['type']}", None)
            if handle:
                await handle(frame, socket)

    async def on_RegisterServiceResponse(self, frame, socket):
        self.socket, self.failures = socket, 0
        say(f"registered as {self.service_id}")
        for assignment_id in frame["release"]:
            self.leave(assignment_id)
        for assignment_id, served in self.served.items():
            # reported on a socket that broke before the answer came
            if served.is_ready and not served.is_answered:
                await self.send("ServiceReady", assignment_id, id=assignment_id)

    async def on_JoinRoomRequest(self, join, socket):
        assignment_id = join["assignment_id"]
        await self.send("JoinRoomResponse", assignment_id, accepted=True)
        served = self.served[assignment_id] = ServedSession(join)
        served.task = asyncio.create_task(self.serve(join, served))
        await asyncio.sleep(0)  # lets the task start: cancelled before that, it would do nothing

    async def on_ServiceReadyResponse(self, frame, socket):
        if frame["id"] in self.served:
            self.served[frame["id"]].is_answered = True
        say(f"ready in {frame['session_id']}")

    async def on_LeaveRoomRequest(self, frame, socket):
        say(f"leaves: {frame['reason']}")
        if not self.leave(frame["assignment_id"]):
            await self.send("ServiceLeft", frame["assignment_id"])

    async def on_Error(self, frame, socket):
        say(f"refused: {frame['code']}, {frame['message']}")
        if frame.get("id") in self.served:  # ServiceReady came too late
            self.leave(frame["id"])
        elif frame.get("id") == "register":
            if not frame["retryable"]:
                sys.exit(1)
            await socket.close(4500)

    def leave(self, assignment_id):
        served = self.served.pop(assignment_id, None)
        if served:
            served.task.cancel()
        return served

    async def serve(self, join, served):
        """One session, from its acceptance until `leave` cancels it."""
        assignment_id = join["assignment_id"]

        async def progress(phase, percent=0, message=""):
            await self.send("ServiceProgress", assignment_id, phase=phase, percent=percent, message=message)

        try:
            async with session(join, progress):
                served.is_ready = True
                await self.send("ServiceReady", assignment_id, id=assignment_id)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.send("ServiceLeft", assignment_id)
        except Exception as error:
            self.served.pop(assignment_id, None)
            await self.send("ServiceFailed", assignment_id, error=str(error)[:500])

    async def send(self, type, assignment_id, **fields):
        """Sends only while registered. What is lost with a socket is corrected by the next registration."""
        if self.socket:
            with suppress(websockets.ConnectionClosed):
                await self.socket.send(json.dumps({"type": type, "assignment_id": assignment_id, **fields}))

    async def leave_all(self):
        left = [self.leave(assignment_id) for assignment_id in list(self.served)]
        await asyncio.gather(*(one.task for one in left))


def status_of(error):
    """The HTTP status of a refused upgrade, which websockets 14 has moved; 0: it was not refused."""
    return getattr(error, "status_code", 0) or getattr(getattr(error, "response", None), "status_code", 0)


def say(text):
    print(text, flush=True)


async def main(url="ws://127.0.0.1:8080/ws", service_id="asr"):
    token = os.environ.get("GATEWAY_TOKEN", "").strip()
    if not re.fullmatch("[!-~]*", token):
        sys.exit("GATEWAY_TOKEN has characters that no token has")
    running = asyncio.ensure_future(Service(url, service_id, token).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
