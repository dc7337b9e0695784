"""Puts the detection together for the control process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.anomaly.admission import Admission
from sidecar.control.anomaly.detectors.geo import open_geo
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.engine import Engine
from sidecar.control.anomaly.episodes import Episodes
from sidecar.control.anomaly.notifications.delivery import Delivery
from sidecar.control.anomaly.notifications.outbox import new_secret, secret_bytes
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.parcels import Parcels
from sidecar.control.anomaly.queries import AnomalyService
from sidecar.control.anomaly.replicas import SHARED, Replicas
from sidecar.control.anomaly.responder import Responder
from sidecar.control.anomaly.storage import Storage
from sidecar.control.audit import AuditLog
from sidecar.control.salt import Salt
from sidecar.keys.digest import Digester
from sidecar.keys.repository import KeyRepository
from sidecar.keys.secret_file import read_or_make
from sidecar.settings import Settings
from sidecar.store.client import Store

SECRET_FILE = "webhook-secret"  # noqa: S105 - a file's name


@dataclass(frozen=True, slots=True)
class Detection:
    """What runs (`engine.run`, `delivery.run`), what the fold feeds (`engine`), and what the admin API asks (`queries`)."""

    engine: Engine
    delivery: Delivery
    queries: AnomalyService


def compose(
    settings: Settings,
    store: Store,
    keys: KeyRepository,
    audit: AuditLog,
    *,
    instance: str,
    digester: Digester,
    in_flight: Callable[[], Mapping[str, int]],
    guard: Callable[[], Awaitable[None]],
    clock: Callable[[], float],
) -> Detection:
    """`instance` names this sidecar, also after a restart; of `digester` only the peppers matter.

    Raises OSError and ValueError for files and settings that make no sense.
    """
    anomaly, notifications = settings.anomaly, settings.notifications
    salt = Salt(store, digester.pepper, digester.previous)
    networks = Networks(
        salt.value,
        names="hash" if settings.log.client_address == "hash" else "network",
        geo=open_geo(anomaly.geo_file),
        trusted=anomaly.known_networks,
    )
    names: dict[str, str] = {}
    observer = Observer(
        networks,
        lambda key_id: names.get(key_id, ""),
        thresholds=Thresholds(dormant_after=int(anomaly.dormant_after)),
        episodes=Episodes(SHARED),
    )
    peppers = (digester.pepper,) if digester.previous is None else (digester.pepper, digester.previous)
    replicas = Replicas(store, instance, Parcels(peppers, wraps=settings.log.client_address != "full"))
    storage = Storage(store, SHARED)
    secret = notifications.webhook_secret.reveal() or read_or_make(Path(settings.data_dir) / SECRET_FILE, new_secret)
    secret_bytes(secret)
    receivers = Receivers((url.reveal() for url in notifications.webhooks), digester.pepper, digester.previous)
    delivery = Delivery(storage, receivers, secret, clock, lambda: replicas.leads)
    engine = Engine(
        observer,
        storage,
        Responder(keys, audit, anomaly, clock),
        Admission(observer, storage, keys, names),
        replicas,
        salt,
        settings=anomaly,
        notifications=notifications,
        receivers=receivers,
        in_flight=in_flight,
        on_message=delivery.wake,
        guard=guard,
        clock=clock,
    )
    return Detection(engine, delivery, AnomalyService(engine, clock))
