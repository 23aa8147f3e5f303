//! What stands against a claim of a host, whoever makes it: the host service decides by it, and its callers know by it when
//! asking again makes sense.

use crate::v1::{Consumer, Host};

/// The obstacle that time removes by itself: the host is not available yet.
pub const NOT_AVAILABLE: &str = "not-available";

impl Host {
    /// What stands against every claim of it, as the `rule` of [`Rejections`](crate::v1::Rejections) that tells it.
    pub fn obstacle(&self) -> Option<&'static str> {
        let requested = self.requested_image.is_some() || !self.requested_custom_deploy_method.is_empty();
        if self.deleting {
            Some("deleting")
        } else if self.paused_by.is_some() {
            Some("paused")
        } else if self.unhealthy {
            Some("unhealthy")
        } else if !self.error_message.is_empty() {
            Some("error")
        } else if self.operational_status == "detached" {
            Some("detached")
        } else if requested {
            // A user deploys it without a consumer.
            Some("in-use")
        } else if !matches!(self.provisioning_state.as_str(), "available" | "ready") {
            Some(NOT_AVAILABLE)
        } else {
            None
        }
    }

    /// Whether it is kept for somebody's successor, under its reuse key.
    pub fn is_reserved(&self) -> bool {
        !self.reuse_key.is_empty() && self.consumer.as_ref().is_none_or(Consumer::is_cluster)
    }
}

impl Consumer {
    /// Whether it is a Cluster of Cluster API, to which hosts belong that are kept for its machines.
    pub fn is_cluster(&self) -> bool {
        self.kind == "Cluster" && self.group() == "cluster.x-k8s.io"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_reserved_by_its_key_unless_somebody_else_has_it() {
        let host = |key: &str, consumer: Option<(&str, &str)>| Host {
            reuse_key: key.into(),
            consumer: consumer.map(|(api_version, kind)| Consumer {
                api_version: api_version.into(),
                kind: kind.into(),
                ..Consumer::default()
            }),
            ..Host::default()
        };
        let cluster = Some(("cluster.x-k8s.io/v1beta2", "Cluster"));
        let machine = Some(("infrastructure.cluster.x-k8s.io/v1beta2", "Metal3Machine"));
        assert!(host("md-d", None).is_reserved() && host("md-d", cluster).is_reserved());
        assert!(!host("md-d", machine).is_reserved() && !host("", cluster).is_reserved());
        assert!(!host("md-d", Some(("v1", "Cluster"))).is_reserved());
    }
}
