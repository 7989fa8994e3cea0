# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority that speaks ACME (RFC 8555, RFC 8737, RFC 9773), for tests.

It is strict: what a client does wrong is refused, and noted in `violations`. What it does otherwise than usual is set by its
fields: nonces that are refused, orders that stay "processing", limits, short lives. It looks for names at 127.0.0.1, at the ports
that the test gives.
"""

import base64
import datetime
import functools
import hashlib
import http.client
import http.server
import json
import secrets
import socket
import ssl
import threading
import time

import harness
from certificates import Authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def rebase64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Problem(Exception):
    def __init__(self, status, kind, detail, headers=(), subproblems=None):
        super().__init__(detail)
        self.status, self.headers = status, dict(headers)
        self.body = {"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status}
        if subproblems:
            self.body["subproblems"] = subproblems


class Issuer:
    """A root and an intermediate authority; certificates come from the latter."""

    def __init__(self):
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign("test root", self.root_key.public_key(), "test root", self.root_key, 86400, authority=True)
        self.certificate = self._sign("test intermediate", self.key.public_key(), "test root", self.root_key, 86400,
                                      authority=True)
        self.root_file = harness.work_folder("issuer") / "root.pem"
        self.root_file.write_bytes(self.pem(self.root))

    @staticmethod
    def pem(certificate):
        return certificate.public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def _sign(name, public_key, issuer, issuer_key, seconds, names=(), authority=False):
        now = datetime.datetime.utcnow()
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
        builder = (x509.CertificateBuilder().subject_name(x509.Name(subject))
                   .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])).public_key(public_key)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(seconds=1))
                   .not_valid_after(now + datetime.timedelta(seconds=seconds))
                   .add_extension(x509.BasicConstraints(authority, None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def issue(self, public_key, names, seconds):
        leaf = self._sign("", public_key, "test intermediate", self.key, seconds, names)
        return leaf, self.pem(leaf) + self.pem(self.certificate)


@functools.lru_cache(maxsize=None)
def identities():
    """Made once: the issuer, the authority of the directory's own TLS, and the directory's certificate."""
    authority = Authority("directory's authority")
    return Issuer(), authority, authority.issue("/CN=directory")


class AcmeServer:
    def __init__(self):
        self.lock = threading.RLock()
        self.issuer, authority, own = identities()
        self.ca = authority.cert  # who vouches for the directory
        self.violations, self.requests = [], []
        self.nonces, self.accounts, self.orders, self.authorizations, self.certificates = set(), {}, {}, {}, {}
        self.issued = []  # leaf certificates
        # What a test may ask for.
        self.http_port = None
        self.tls_port = None
        self.life = 3600  # seconds
        self.refused_nonces = 0
        self.processing = 0  # looks until an order is done
        self.limited = []  # Retry-After of the next orders that are refused
        self.window = None  # (from, to) of renewalInfo, unix seconds
        self.odd = {}  # path -> (status, headers, body) of its next answer
        self.replaced = []  # what orders say they take the place of
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert, own.key)
        acme = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", 65536, True

            def do_HEAD(self):
                acme.handle(self)

            do_GET = do_POST = do_HEAD

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # a client that does not trust us breaks off
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def arguments(self, *hosts):
        """What `mica server` is told."""
        names = [argument for host in hosts for argument in ("--acme-host", host)]
        return names + ["--acme-agree", "--acme-directory", self.url + "/directory", "--acme-ca", str(self.ca),
                        "--acme-email", "ops@example.test"]

    # ---- HTTP

    def handle(self, request):
        length = int(request.headers.get("content-length") or 0)
        body = request.rfile.read(length)
        self.requests.append((request.command, request.path))
        with self.lock:
            odd = self.odd.pop("/" + request.path.split("/")[1], None)
            try:
                status, headers, answer = odd or self.route(request, body)
            except Problem as problem:
                status, answer = problem.status, problem.body
                headers = {"content-type": "application/problem+json", **problem.headers}
                if status != 429 and problem.body["type"].split(":")[-1] not in ("badNonce", "alreadyReplaced"):
                    self.violations.append(problem.body["detail"])
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        nonce = self.new_nonce() if request.command == "POST" or request.path == "/nonce" else None
        for name, value in {"content-type": "application/json", "replay-nonce": nonce, **headers}.items():
            if value is not None:
                request.send_header(name, str(value))
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)
        request.wfile.flush()

    def new_nonce(self):
        nonce = secrets.token_urlsafe(12)
        with self.lock:
            self.nonces.add(nonce)
        return nonce

    def route(self, request, body):
        if not request.headers.get("user-agent", "").startswith("mica/"):
            raise Problem(400, "malformed", "no user-agent")
        kind, _, rest = request.path.strip("/").partition("/")
        if kind == "directory":
            names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
            directory = {name: f"{self.url}/{path}" for name, path in names.items()}
            if self.window:
                directory["renewalInfo"] = f"{self.url}/renewal"
            return 200, {}, directory
        if kind == "nonce":
            return 200, {}, b""
        if kind == "renewal":
            start, end = (datetime.datetime.utcfromtimestamp(t).isoformat(timespec="seconds") + "Z" for t in self.window)
            return 200, {"retry-after": 3600}, {"suggestedWindow": {"start": start, "end": end}}
        if request.command != "POST":
            raise Problem(405, "malformed", f"{request.command} {request.path}")
        account, payload = self.verify(request, body)
        do = getattr(self, "do_" + kind, None)
        if do is None:
            raise Problem(404, "malformed", f"no {request.path}")
        return do(account, payload, *([rest] if rest else []))

    # ---- signatures: RFC 8555 section 6.2

    def verify(self, request, body):
        if request.headers.get("content-type") != "application/jose+json":
            raise Problem(415, "malformed", f"content-type {request.headers.get('content-type')}")
        message = json.loads(body)
        if sorted(message) != ["payload", "protected", "signature"]:
            raise Problem(400, "malformed", f"members {sorted(message)}")
        header = json.loads(unbase64(message["protected"]))
        wants_key = request.path == "/account"
        if sorted(header) != sorted(["alg", "nonce", "url", "jwk" if wants_key else "kid"]) or header["alg"] != "ES256":
            raise Problem(400, "malformed", f"header {header}")
        if header["url"] != self.url + request.path:
            raise Problem(401, "unauthorized", f"signed for {header['url']}")
        self.use_nonce(header["nonce"])
        if wants_key:
            account = header["jwk"]
        else:
            if header["kid"] not in self.accounts:
                raise Problem(400, "accountDoesNotExist", f"no account {header['kid']}")
            account = self.accounts[header["kid"]]
        self.check_signature(account, message)
        payload = unbase64(message["payload"])
        return account, json.loads(payload) if payload else None

    def use_nonce(self, nonce):
        if nonce not in self.nonces:
            raise Problem(400, "malformed", "a nonce that was not given, or used twice")
        self.nonces.remove(nonce)
        if self.refused_nonces > 0:
            self.refused_nonces -= 1
            raise Problem(400, "badNonce", "that nonce is stale")

    @staticmethod
    def public_key(jwk):
        x, y = (int.from_bytes(unbase64(jwk[c]), "big") for c in "xy")
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()

    def check_signature(self, jwk, message):
        raw = unbase64(message["signature"])
        signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        signed = f"{message['protected']}.{message['payload']}".encode()
        try:
            assert len(raw) == 64
            self.public_key(jwk).verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except Exception:
            raise Problem(401, "malformed", "the signature does not fit") from None

    # ---- accounts and orders

    def do_account(self, jwk, payload):
        if payload.get("termsOfServiceAgreed") is not True or payload.get("contact") != ["mailto:ops@example.test"]:
            raise Problem(400, "userActionRequired", f"account {payload}")
        for url, known in self.accounts.items():
            if known == jwk:
                return 200, {"location": url}, {"status": "valid"}
        url = f"{self.url}/account/{len(self.accounts)}"
        self.accounts[url] = jwk
        return 201, {"location": url}, {"status": "valid"}

    def do_order(self, account, payload, number=None):
        if number is not None:
            return self.look_at_order(self.orders[number])
        if self.limited:
            raise Problem(429, "rateLimited", "too many new orders", {"retry-after": self.limited.pop(0)})
        if "replaces" in payload:
            self.replaced.append(payload["replaces"])
        number = str(len(self.orders))
        names = [identifier["value"] for identifier in payload["identifiers"]]
        order = {"number": number, "names": names, "account": account, "status": "pending", "left": self.processing,
                 "authorizations": [self.new_authorization(account, name) for name in names]}
        self.orders[number] = order
        return 201, {"location": f"{self.url}/order/{number}"}, self.show_order(order)

    def show_order(self, order):
        shown = {"status": order["status"], "finalize": f"{self.url}/finalize/{order['number']}",
                 "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
                 "authorizations": [f"{self.url}/authorization/{a}" for a in order["authorizations"]]}
        if order["status"] == "valid":
            shown["certificate"] = f"{self.url}/certificate/{order['number']}"
        return shown

    def look_at_order(self, order):
        statuses = [self.authorizations[a]["status"] for a in order["authorizations"]]
        if order["status"] == "pending" and "invalid" in statuses:
            order["status"] = "invalid"
        elif order["status"] == "pending" and set(statuses) == {"valid"}:
            order["status"] = "ready"
        elif order["status"] == "processing":
            order["left"] -= 1
            if order["left"] < 0:
                order["status"] = "valid"
        return 200, {"retry-after": 0} if order["status"] == "processing" else {}, self.show_order(order)

    def do_finalize(self, account, payload, number):
        order = self.orders[number]
        self.look_at_order(order)
        if order["status"] != "ready":
            raise Problem(403, "orderNotReady", f"the order is {order['status']}")
        request = x509.load_der_x509_csr(unbase64(payload["csr"]))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        if not request.is_signature_valid or sorted(names) != sorted(order["names"]) or list(request.subject):
            raise Problem(400, "badCSR", f"a request for {names}")
        if request.public_key().public_numbers() == self.public_key(account).public_numbers():
            raise Problem(400, "badCSR", "the account's key")
        leaf, chain = self.issuer.issue(request.public_key(), names, self.life)
        self.issued.append(leaf)
        self.certificates[number] = chain
        order["status"] = "processing"
        return 200, {}, self.show_order(order)

    def do_certificate(self, account, payload, number):
        return 200, {"content-type": "application/pem-certificate-chain"}, self.certificates[number]

    # ---- authorizations: RFC 8555 section 8

    def new_authorization(self, account, name):
        number = str(len(self.authorizations))
        self.authorizations[number] = {
            "status": "pending", "name": name, "account": account,
            "challenges": {kind: {"type": kind, "status": "pending", "token": secrets.token_urlsafe(16),
                                  "url": f"{self.url}/challenge/{number}.{kind}"} for kind in ("http-01", "tls-alpn-01")}}
        return number

    def do_authorization(self, account, payload, number):
        authorization = self.authorizations[number]
        return 200, {}, {"status": authorization["status"], "identifier": {"type": "dns", "value": authorization["name"]},
                         "challenges": list(authorization["challenges"].values())}

    def do_challenge(self, account, payload, place):
        number, kind = place.split(".")
        authorization = self.authorizations[number]
        challenge = authorization["challenges"][kind]
        if payload != {}:
            raise Problem(400, "malformed", f"a challenge is answered with {payload}")
        if challenge["status"] == "pending":
            challenge["status"] = "processing"
            threading.Thread(target=self.look, args=(authorization, challenge), daemon=True).start()
        return 200, {}, challenge

    @staticmethod
    def key_authorization(authorization, challenge):
        jwk = {name: authorization["account"][name] for name in ("crv", "kty", "x", "y")}
        thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
        return f"{challenge['token']}.{rebase64(thumbprint)}"

    def look(self, authorization, challenge):
        fault = None
        try:
            look = self.look_http if challenge["type"] == "http-01" else self.look_tls
            look(authorization["name"], challenge["token"], self.key_authorization(authorization, challenge))
        except Exception as e:  # whatever it is, the name is not proved
            fault = e
        with self.lock:
            status = "valid" if fault is None else "invalid"
            challenge["status"] = authorization["status"] = status
            if fault is not None:
                challenge["error"] = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": f"no answer: {fault}"}

    def port(self, field):
        end = time.monotonic() + 10
        while getattr(self, field) is None and time.monotonic() < end:
            time.sleep(0.02)
        return getattr(self, field)

    def look_http(self, name, token, wanted):
        connection = http.client.HTTPConnection("127.0.0.1", self.port("http_port"), timeout=5)
        connection.request("GET", f"/.well-known/acme-challenge/{token}", headers={"host": name})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        assert answer.status == 200 and body.strip() == wanted, f"{answer.status} {body[:60]}"

    def look_tls(self, name, token, wanted):
        certificate, agreed = alpn_certificate(self.port("tls_port"), name)
        assert agreed == "acme-tls/1", f"agreed on {agreed}"
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(found) == [x509.DNSName(name)], found
        extension = certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
        assert extension.critical
        assert extension.value.value == b"\x04\x20" + hashlib.sha256(wanted.encode()).digest()


def alpn_certificate(port, name, protocols=("acme-tls/1",)):
    """The certificate that a server shows to who offers these protocols, and what was agreed on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)), tls.selected_alpn_protocol()
