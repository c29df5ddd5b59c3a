"""Looks at the page of kafka-viewer as a browser does: by the web socket of Streamlit, which the page is made with.
Arguments: the address of its server, a topic to choose, and a text to filter by. Prints what the page shows, as JSON."""

import json
import sys

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect


class Page:
    def __init__(self, socket):
        self.socket, self.states, self.shown = socket, {}, {}

    def run(self, pressed=None):
        """Has the page drawn again, with what was chosen so far and perhaps a button pressed."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        widgets = message.rerun_script.widget_states.widgets
        for name, value in self.states.items():
            widgets.add(id=name, string_value=value)
        if pressed:
            widgets.add(id=pressed, trigger_value=True)
        self.socket.send(message.SerializeToString())
        self.shown = {}
        while True:
            said = ForwardMsg()
            said.ParseFromString(self.socket.recv(timeout=60))
            kind = said.WhichOneof("type")
            if kind == "script_finished":
                return
            if kind == "delta" and said.delta.WhichOneof("type") in ("new_element", "add_block"):
                what = said.delta.WhichOneof("type")
                self.shown[(what, *said.metadata.delta_path)] = getattr(said.delta, what)

    def all(self, kind):
        return [getattr(one, kind) for one in self.shown.values() if one.WhichOneof("type") == kind]

    def one(self, kind, label):
        return next(one for one in self.all(kind) if one.label == label)


def main(address, topic, wanted):
    with connect(f"ws://{address}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as socket:
        page = Page(socket)
        page.run()
        topics = page.one("selectbox", "Topic")
        page.states[topics.id] = topic
        page.run()
        numbers = {one.label: one.body for one in page.all("metric")}
        page.states[page.one("text_input", "Message Filter (optional)").id] = wanted
        page.run(page.one("button", "Load Messages").id)
        found = {
            "topics": list(topics.options),
            "numbers": numbers,
            "titles": [one.label for one in page.all("expandable")],
            "messages": [one.code_text for one in page.all("code")],
            "errors": [one.body for one in page.all("alert") if one.format == one.ERROR],
        }
    print(json.dumps(found))


main(*sys.argv[1:])
