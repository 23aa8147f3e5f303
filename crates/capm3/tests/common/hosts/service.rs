//! The calls of the host service.

use std::collections::HashSet;
use std::future::ready;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::host_service_server::HostService;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{self, *};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::{Answer, Hosts, held_by};

fn later<T>() -> Answer<T> {
    Err(Status::unimplemented("not in this test"))
}

/// A reader of the hosts that nobody has, or a consumer of one kind.
struct Reader {
    /// Empty: any.
    kind: String,
    told: HashSet<String>,
}

impl Reader {
    /// What a message is for this reader: a host that changes hands may come or go.
    fn take(&mut self, mut message: WatchHostsResponse) -> Option<WatchHostsResponse> {
        let Some(host) = &message.host else {
            return Some(message);
        };
        let name = host.r#ref.as_ref().map(|host| host.name.clone())?;
        let any = self.kind.is_empty();
        if any
            || host
                .consumer
                .as_ref()
                .is_none_or(|consumer| consumer.kind == self.kind)
        {
            self.told.insert(name);
            return Some(message);
        }
        message.r#type = Type::Deleted.into();
        self.told.remove(&name).then_some(message)
    }
}

#[tonic::async_trait]
impl HostService for Hosts {
    async fn get_host(&self, request: Request<GetHostRequest>) -> Answer<GetHostResponse> {
        self.enter("GetHost", &request)?;
        let host = self.with(|world| world.find(request.into_inner().host));
        match host {
            Some(host) => Ok(Response::new(GetHostResponse { host: Some(host) })),
            None => Err(Reason::HostNotFound.status("no such host", [])),
        }
    }

    async fn list_hosts(&self, request: Request<ListHostsRequest>) -> Answer<ListHostsResponse> {
        self.enter("ListHosts", &request)?;
        let wanted = request.into_inner().consumer;
        let held = |host: &&Host| wanted.as_ref().is_none_or(|wanted| held_by(host, wanted));
        let hosts = self.with(|world| world.hosts.values().filter(held).cloned().collect());
        Ok(Response::new(ListHostsResponse {
            hosts,
            ..Default::default()
        }))
    }

    type WatchHostsStream = BoxStream<'static, Result<WatchHostsResponse, Status>>;

    async fn watch_hosts(&self, request: Request<WatchHostsRequest>) -> Answer<Self::WatchHostsStream> {
        self.enter("WatchHosts", &request)?;
        let rest = self.stream.lock().unwrap().subscribe();
        let request = request.into_inner();
        let mut reader = Reader {
            kind: request.consumer_kind,
            told: HashSet::new(),
        };
        let first = self.with(|world| {
            let from = request.from_revision;
            world.resumed_from.push(from.clone());
            if let Some(status) = world.refused_streams.pop() {
                return Err(status);
            }
            let after: u64 = from.parse().unwrap_or(0);
            let missed = world
                .hosts
                .values()
                .filter(|host| host.revision.parse::<u64>().unwrap() > after);
            let mut first: Vec<_> = missed
                .map(|host| WatchHostsResponse {
                    r#type: Type::Added.into(),
                    host: Some(host.clone()),
                    revision: host.revision.clone(),
                })
                .collect();
            first.push(WatchHostsResponse {
                r#type: Type::Synced.into(),
                host: None,
                revision: world.revision.to_string(),
            });
            Ok(first)
        })?;
        let rest = BroadcastStream::new(rest).filter_map(|message| async { message.ok() });
        let stream = futures::stream::iter(first).chain(rest);
        let stream = stream.filter_map(move |message| ready(reader.take(message).map(Ok)));
        Ok(Response::new(stream.boxed()))
    }

    async fn claim_host(&self, request: Request<ClaimHostRequest>) -> Answer<ClaimHostResponse> {
        self.enter("ClaimHost", &request)?;
        let ((host, news), reused) = self.with(|world| {
            let request = request.into_inner();
            let claimant = request.consumer.clone().unwrap_or_default().name;
            let kept: Vec<String> = world
                .hosts
                .iter()
                .filter(|(_, host)| !host.reuse_key.is_empty())
                .map(|(name, _)| name.clone())
                .collect();
            let answer = world.claim(request);
            let got = answer.as_ref().map_or("nothing", |(host, _)| {
                host.r#ref
                    .as_ref()
                    .map_or("", |reference| reference.name.as_str())
            });
            world.log.push(format!("ClaimHost {claimant} {got}"));
            let reused = kept.iter().any(|name| name == got);
            answer.map(|answer| (answer, reused))
        })?;
        if let Some(message) = news {
            self.tell(message);
        }
        let reason = if reused {
            claim_host_response::Reason::Reused
        } else {
            claim_host_response::Reason::Selected
        };
        let answer = ClaimHostResponse {
            host: Some(host),
            reason: reason.into(),
            ..Default::default()
        };
        self.leave("ClaimHost", answer)
    }

    async fn release_host(&self, request: Request<ReleaseHostRequest>) -> Answer<ReleaseHostResponse> {
        self.enter("ReleaseHost", &request)?;
        let request = request.into_inner();
        let (slow, host) = self.with(|world| {
            world.releases.push(request.clone());
            (world.slow_release, world.find(request.host.clone()))
        });
        // Nothing happens to a host that is paused, unless it is free already.
        let still = |host: &Host| host.paused_by.is_some() && host.provisioning_state != "available";
        let slow = slow || host.as_ref().is_some_and(still);
        let phase = if slow {
            v1::release_host_response::Phase::Deprovisioning
        } else {
            v1::release_host_response::Phase::Released
        };
        let consumer = request.consumer.unwrap_or_default();
        if let (false, Some(reference)) = (slow, request.host)
            && host.as_ref().is_some_and(|host| held_by(host, &consumer))
        {
            let (key, owner) = match request.reservation {
                Some(reservation) => (reservation.reuse_key, reservation.cluster),
                None => (String::new(), None),
            };
            self.change(&reference.name, |host| {
                (host.consumer, host.reuse_key) = (owner, key);
                host.requested_image = None;
                host.paused_by = None;
                host.provisioning_state = "available".into();
            });
            self.with(|world| world.guarded.remove(&reference.name));
        }
        let answer = ReleaseHostResponse {
            phase: phase.into(),
            host,
        };
        self.leave("ReleaseHost", answer)
    }

    async fn provision_host(&self, request: Request<ProvisionHostRequest>) -> Answer<ProvisionHostResponse> {
        self.enter("ProvisionHost", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        self.change(&name, |host| {
            host.requested_image = request.spec.and_then(|spec| spec.image);
        });
        let host = self.with(|world| world.hosts.get(&name).cloned());
        let result = provision_host_response::Result::Accepted.into();
        self.leave("ProvisionHost", ProvisionHostResponse { result, host })
    }

    async fn get_inventory(&self, _: Request<GetInventoryRequest>) -> Answer<GetInventoryResponse> {
        later()
    }

    async fn set_cleaning_mode(
        &self,
        request: Request<SetCleaningModeRequest>,
    ) -> Answer<SetCleaningModeResponse> {
        self.enter("SetCleaningMode", &request)?;
        let request = request.into_inner();
        let name = request.host.unwrap_or_default().name;
        self.change(&name, |host| host.cleaning_mode = request.mode);
        let host = self.with(|world| world.hosts.get(&name).cloned());
        self.leave("SetCleaningMode", SetCleaningModeResponse { host })
    }

    async fn release_reservations(
        &self,
        request: Request<ReleaseReservationsRequest>,
    ) -> Answer<ReleaseReservationsResponse> {
        self.enter("ReleaseReservations", &request)?;
        let request = request.into_inner();
        let kept: Vec<String> = self.with(|world| {
            world.ended_reservations.push(request.clone());
            let hosts = world.hosts.iter().filter(|(_, host)| match &request.scope {
                Some(release_reservations_request::Scope::ReuseKey(key)) => host.reuse_key == *key,
                _ => !host.reuse_key.is_empty(),
            });
            hosts.map(|(name, _)| name.clone()).collect()
        });
        for name in &kept {
            self.change(name, |host| {
                host.consumer = None;
                host.reuse_key.clear();
            });
        }
        let released = u32::try_from(kept.len()).unwrap();
        self.leave("ReleaseReservations", ReleaseReservationsResponse { released })
    }

    async fn hold_power_off(&self, request: Request<HoldPowerOffRequest>) -> Answer<HoldPowerOffResponse> {
        self.enter("HoldPowerOff", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        if self.with(|world| !world.hosts[&name].online) {
            return Err(Reason::PoweredOffByUser.status("spec.online is false", []));
        }
        let obeys = self.with(|world| !world.stuck_on.contains(&name));
        self.change(&name, |host| {
            if !host.power_holds.contains(&request.key) {
                host.power_holds.push(request.key);
            }
            host.powered_on &= !obeys;
        });
        let host = self.with(|world| world.hosts.get(&name).cloned());
        let held_since = None;
        self.leave("HoldPowerOff", HoldPowerOffResponse { host, held_since })
    }

    async fn release_power_hold(
        &self,
        request: Request<ReleasePowerHoldRequest>,
    ) -> Answer<ReleasePowerHoldResponse> {
        self.enter("ReleasePowerHold", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        let obeys = self.with(|world| !world.stuck_off.contains(&name));
        self.change(&name, |host| {
            host.power_holds.retain(|key| *key != request.key);
            if obeys && host.online && host.power_holds.is_empty() && !host.powered_on {
                host.powered_on = true;
            }
        });
        let host = self.with(|world| world.hosts.get(&name).cloned());
        self.leave("ReleasePowerHold", ReleasePowerHoldResponse { host })
    }

    async fn mark_health(&self, request: Request<MarkHealthRequest>) -> Answer<MarkHealthResponse> {
        self.enter("MarkHealth", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        self.change(&name, |host| host.unhealthy = request.unhealthy);
        let host = self.with(|world| world.hosts.get(&name).cloned());
        self.leave("MarkHealth", MarkHealthResponse { host })
    }

    async fn prepare_move(&self, request: Request<PrepareMoveRequest>) -> Answer<PrepareMoveResponse> {
        self.enter("PrepareMove", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        self.change(&name, |host| {
            host.paused_by.get_or_insert(request.token);
        });
        let host = self.with(|world| {
            world.guarded.remove(&name);
            world.hosts.get(&name).cloned()
        });
        self.leave("PrepareMove", PrepareMoveResponse { host })
    }

    async fn resume_after_move(
        &self,
        request: Request<ResumeAfterMoveRequest>,
    ) -> Answer<ResumeAfterMoveResponse> {
        self.enter("ResumeAfterMove", &request)?;
        let request = request.into_inner();
        let name = self.held(request.host, &request.consumer.unwrap_or_default())?;
        self.change(&name, |host| {
            if host.paused_by.as_ref() == Some(&request.token) {
                host.paused_by = None;
            }
        });
        let host = self.with(|world| {
            world.guarded.insert(name.clone());
            world.hosts.get(&name).cloned()
        });
        self.leave("ResumeAfterMove", ResumeAfterMoveResponse { host })
    }

    async fn explain_host(&self, _: Request<ExplainHostRequest>) -> Answer<ExplainHostResponse> {
        later()
    }
}
