import httpx
import time
import json
from typing import Optional

GENESYS_BASE_URL = "http://127.0.0.1:8080"
TOKEN_URL = f"{GENESYS_BASE_URL}/oauth/token"


class SecurityError(Exception):
    pass


class GenesysAuthManager:
    def __init__(self, client_id: str, client_secret: str, scopes: list[str]):
        self.client_id = client_id
        self.client_secret = client_secret
        self.scopes = scopes
        self._token_cache: Optional[dict] = None
        self._expiry_time: float = 0.0
        self._http_client = httpx.Client()

    def get_access_token(self) -> str:
        if self._token_cache and time.time() < self._expiry_time - 300:
            return self._token_cache["access_token"]

        payload = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": " ".join(self.scopes)
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = self._http_client.post(TOKEN_URL, data=payload, headers=headers)
        response.raise_for_status()
        token_data = response.json()
        self._token_cache = token_data
        self._expiry_time = time.time() + token_data["expires_in"]
        return token_data["access_token"]


import uuid
from datetime import datetime, timezone
from typing import Dict, Any


class SessionPayloadBuilder:
    @staticmethod
    def build(
        channel_config_id: str,
        guest_id: Optional[str] = None,
        region: str = "US",
        consent_marketing: bool = False,
        consent_personalization: bool = False,
        consent_analytics: bool = True
    ) -> Dict[str, Any]:
        # Validate regional compliance
        strict_consent_regions = ["EU", "UK", "CA", "BR"]
        if region in strict_consent_regions and not (consent_marketing and consent_personalization):
            raise ValueError(f"Region {region} requires explicit marketing and personalization consent.")

        # Enforce uniqueness client-side to reduce 409 conflicts
        identifier = guest_id or str(uuid.uuid4())

        payload = {
            "channelConfigurationId": channel_config_id,
            "guestId": identifier,
            "guestAttributes": {
                "source": "web",
                "region": region,
                "timestamp": datetime.now(timezone.utc).isoformat()
            },
            "consent": {
                "marketing": consent_marketing,
                "personalization": consent_personalization,
                "analytics": consent_analytics,
                "consentTimestamp": datetime.now(timezone.utc).isoformat()
            }
        }
        return payload


import time
from datetime import datetime, timezone


class TokenRotationManager:
    def __init__(self, auth_manager: GenesysAuthManager, api_base: str = GENESYS_BASE_URL):
        self.auth = auth_manager
        self.api_base = api_base
        self.session_tokens: Dict[str, Dict] = {}
        self._http_client = httpx.Client()

    def refresh_session_token(self, session_id: str, refresh_token: str) -> Dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self.auth.get_access_token()}",
            "Content-Type": "application/json"
        }
        url = f"{self.api_base}/api/v2/webmessaging/guest-sessions/{session_id}/refresh"
        body = {"refreshToken": refresh_token}

        response = self._http_client.post(url, headers=headers, json=body)
        response.raise_for_status()
        return response.json()

    def should_refresh(self, session_id: str) -> bool:
        if session_id not in self.session_tokens:
            return False
        expires_at = datetime.fromisoformat(self.session_tokens[session_id]["expiresAt"])
        # Sliding window: refresh 15 minutes before expiration
        return (datetime.now(timezone.utc) + __import__("datetime").timedelta(minutes=15)) > expires_at

    def rotate_if_needed(self, session_id: str, refresh_token: str) -> Optional[Dict]:
        if self.should_refresh(session_id):
            new_tokens = self.refresh_session_token(session_id, refresh_token)
            self.session_tokens[session_id].update(new_tokens)
            return new_tokens
        return None


import asyncio
import websockets
import json
from typing import List


class WebSocketMessenger:
    def __init__(self, allowed_origins: List[str]):
        self.allowed_origins = allowed_origins
        self._websocket: Optional[websockets.WebSocketClientProtocol] = None

    async def connect(self, ws_url: str, access_token: str, origin: str) -> None:
        if origin not in self.allowed_origins:
            raise SecurityError(f"Origin {origin} is not allowed for WebSocket handshake.")

        # Genesys Web Messaging expects the token in a custom header or query param
        # The SDK documentation specifies passing via the `Sec-WebSocket-Protocol` or query
        # We append the token as a query parameter for compatibility
        secured_url = f"{ws_url}?access_token={access_token}"

        self._websocket = await websockets.connect(secured_url, additional_headers={"Origin": origin})

        audit_log = {
            "event": "websocket_connected",
            "origin": origin,
            "timestamp": datetime.now(timezone.utc).isoformat()
        }
        print(json.dumps(audit_log))

    async def send_message(self, payload: Dict) -> None:
        if not self._websocket:
            raise ConnectionError("WebSocket is not connected.")
        await self._websocket.send(json.dumps(payload))
        await asyncio.sleep(0.1)  # Rate limit to avoid 429 cascades

    async def close(self) -> None:
        if self._websocket:
            await self._websocket.close()


def create_crm_sync_webhook(auth_manager: GenesysAuthManager, target_url: str) -> Dict:
    headers = {
        "Authorization": f"Bearer {auth_manager.get_access_token()}",
        "Content-Type": "application/json"
    }

    webhook_payload = {
        "name": "GuestSessionCRMSync",
        "uri": target_url,
        "method": "POST",
        "enabled": True,
        "eventFilters": [
            {
                "predicate": {
                    "type": "event",
                    "values": ["webmessaging.guestsession.created", "webmessaging.guestsession.updated"]
                }
            }
        ],
        "headers": {
            "X-Source": "GenesysWebMessaging",
            "Content-Type": "application/json"
        }
    }

    client = httpx.Client()
    response = client.post(
        f"{GENESYS_BASE_URL}/api/v2/webhooks",
        headers=headers,
        json=webhook_payload
    )
    response.raise_for_status()
    return response.json()


import time
from typing import Dict, Any, Optional


class GuestSessionManager:
    def __init__(self, auth_manager: GenesysAuthManager, channel_config_id: str, allowed_origins: List[str]):
        self.auth = auth_manager
        self.channel_config_id = channel_config_id
        self.allowed_origins = allowed_origins
        self.sessions: Dict[str, Dict] = {}
        self.token_manager = TokenRotationManager(auth_manager)
        self.ws_messenger = WebSocketMessenger(allowed_origins)
        self.audit_log: List[Dict] = []

    def create_session(self, region: str = "US", consent_flags: Optional[Dict] = None) -> Dict:
        consent = consent_flags or {"marketing": False, "personalization": False, "analytics": True}
        payload = SessionPayloadBuilder.build(
            channel_config_id=self.channel_config_id,
            region=region,
            consent_marketing=consent["marketing"],
            consent_personalization=consent["personalization"],
            consent_analytics=consent["analytics"]
        )

        headers = {
            "Authorization": f"Bearer {self.auth.get_access_token()}",
            "Content-Type": "application/json"
        }

        # Implement 429 retry logic
        max_retries = 3
        for attempt in range(max_retries):
            response = httpx.post(
                f"{GENESYS_BASE_URL}/api/v2/webmessaging/guest-sessions",
                headers=headers,
                json=payload
            )
            if response.status_code == 429:
                retry_after = int(response.headers.get("Retry-After", 2))
                time.sleep(retry_after * (attempt + 1))
                continue
            response.raise_for_status()
            break
        else:
            raise httpx.HTTPStatusError("Rate limit exceeded after retries", request=response.request, response=response)

        session_data = response.json()
        session_id = session_data["id"]

        self.sessions[session_id] = {
            "start_time": time.time(),
            "message_count": 0,
            "data": session_data,
            "consent": consent
        }
        self.token_manager.session_tokens[session_id] = session_data

        audit_entry = {
            "action": "session_created",
            "session_id": session_id,
            "region": region,
            "consent": consent,
            "timestamp": datetime.now(timezone.utc).isoformat()
        }
        self.audit_log.append(audit_entry)
        return session_data

    async def initiate_conversation(self, session_id: str, origin: str) -> None:
        session = self.sessions[session_id]
        access_token = session["data"]["accessToken"]
        ws_url = session["data"]["websocketUrl"]

        await self.ws_messenger.connect(ws_url, access_token, origin)

        # Send initial handshake message required by Genesys Web Messaging
        await self.ws_messenger.send_message({
            "type": "handshake",
            "guestSessionId": session_id,
            "timestamp": datetime.now(timezone.utc).isoformat()
        })
        self.sessions[session_id]["message_count"] += 1

    def calculate_drop_off_rate(self) -> Dict[str, float]:
        total_sessions = len(self.sessions)
        if total_sessions == 0:
            return {"drop_off_rate": 0.0, "avg_duration_seconds": 0.0}

        dropped = sum(1 for s in self.sessions.values() if s["message_count"] == 0)
        durations = [time.time() - s["start_time"] for s in self.sessions.values()]
        return {
            "drop_off_rate": dropped / total_sessions,
            "avg_duration_seconds": sum(durations) / total_sessions
        }

    def get_audit_log(self) -> List[Dict]:
        return self.audit_log.copy()


import asyncio
import sys
import json
from datetime import datetime, timezone

# Import classes defined in previous sections
# In production, place them in separate modules: auth.py, builder.py, token.py, websocket.py, manager.py


async def main():
    # Configuration
    CLIENT_ID = "your_service_account_client_id"
    CLIENT_SECRET = "your_service_account_client_secret"
    CHANNEL_CONFIG_ID = "your_web_messaging_channel_config_id"
    CRM_WEBHOOK_URL = "https://your-crm-endpoint.com/api/guest-sync"
    ALLOWED_ORIGINS = ["https://yourdomain.com", "https://www.yourdomain.com"]

    # Initialize components
    auth_manager = GenesysAuthManager(CLIENT_ID, CLIENT_SECRET, ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite"])

    # Create webhook for CRM sync
    try:
        webhook = create_crm_sync_webhook(auth_manager, CRM_WEBHOOK_URL)
        print("CRM Sync Webhook configured:", webhook["id"])
    except Exception as e:
        print(f"Webhook setup failed: {e}")

    manager = GuestSessionManager(auth_manager, CHANNEL_CONFIG_ID, ALLOWED_ORIGINS)

    # Create guest session with EU compliance
    try:
        session = manager.create_session(
            region="EU",
            consent_flags={"marketing": True, "personalization": True, "analytics": True}
        )
        session_id = session["id"]
        print(f"Session created: {session_id}")
        print(f"WebSocket URL: {session['websocketUrl']}")
        print(f"Access Token expires at: {session['expiresAt']}")
    except ValueError as ve:
        print(f"Compliance validation failed: {ve}")
        sys.exit(1)
    except httpx.HTTPStatusError as he:
        print(f"API Error {he.response.status_code}: {he.response.text}")
        sys.exit(1)

    # Initiate WebSocket conversation
    try:
        await manager.initiate_conversation(session_id, "https://yourdomain.com")
        print("WebSocket handshake successful. Conversation channel open.")
    except SecurityError as se:
        print(f"Security validation failed: {se}")
    except Exception as e:
        print(f"WebSocket connection failed: {e}")

    # Simulate activity and calculate metrics
    manager.sessions[session_id]["message_count"] = 3
    metrics = manager.calculate_drop_off_rate()
    print(f"Session metrics: {json.dumps(metrics, indent=2)}")

    # Retrieve audit log for compliance
    audit = manager.get_audit_log()
    print("Audit log entries:", len(audit))
    for entry in audit:
        print(json.dumps(entry))


if __name__ == "__main__":
    asyncio.run(main())
