"""SCRAM-SHA-256's client (RFC 5802, RFC 7677), without any wire: texts in, texts out.

Used by the tests that log in with MQTT 5.0's AUTH packets (test_mqtt_ways.py, test_mqtt_conformance.py). Only what a client that
binds no channel needs; user names with `,` or `=` are not escaped.
"""
import base64
import hashlib
import hmac
import os


class Conversation:
    """One proof: first() is sent, answer() is the reply to what the server says to it."""

    def __init__(self, user, password):
        self.password = password.encode()
        self.bare = b"n=" + user.encode() + b",r=" + base64.b64encode(os.urandom(18))
        self.server_says = None

    def first(self):
        return b"n,," + self.bare

    def answer(self, server):
        """The final message for the server's first one, and what the server must say then."""
        parts = dict(piece.split(b"=", 1) for piece in server.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(parts[b"s"]), int(parts[b"i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = b"c=biws,r=" + parts[b"r"]
        signed = self.bare + b"," + server + b"," + final
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")))
        return (final + b",p=" + base64.b64encode(proof),
                b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")))
