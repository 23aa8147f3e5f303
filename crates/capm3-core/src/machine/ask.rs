//! What may be asked of the shell, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use super::reuse::{Parent, Reservation, Reservations, Successor};
use crate::host::{Consumer, HostKey, HostSummary, Rejection};
use crate::node::{NodeMatches, NodeQuery};

/// One thing to find out or to do. Each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Reserve a host, or find the one that was reserved. Answer: [`Answer::Claim`].
    Claim(ClaimRequest),
    /// Look at the host. Answer: [`Answer::Host`].
    Host(HostKey),
    /// Record what to run. Answer: [`Answer::Provision`].
    Provision {
        /// Where.
        host: HostKey,
        /// For whom.
        consumer: Consumer,
        /// What.
        spec: ProvisionSpec,
    },
    /// Look for the Node. Answer: [`Answer::Nodes`].
    Nodes(NodeQuery),
    /// Set the provider ID of a Node. Answer: [`Answer::NodeLinked`].
    LinkNode {
        /// Which.
        node: String,
        /// Where it is looked for.
        query: NodeQuery,
    },
    /// Give the host back. Answer: [`Answer::Release`].
    Release {
        /// Which.
        host: HostKey,
        /// Whose.
        consumer: Consumer,
        /// The label that goes with the claim.
        cluster_name: String,
        /// Leave it powered on when it will be cleaned.
        fast_track: bool,
        /// Keep it for the successor of the machine.
        reservation: Option<Reservation>,
    },
    /// Change the cleaning mode of the host. Answer: [`Answer::Cleaning`].
    Cleaning {
        /// Which.
        host: HostKey,
        /// Whose.
        consumer: Consumer,
        /// `metadata` or `disabled`.
        mode: String,
    },
    /// Pause the host for `clusterctl move`. Answer: [`Answer::MovePrepared`].
    PrepareMove {
        /// Which.
        host: HostKey,
        /// Whose.
        consumer: Consumer,
    },
    /// End that pause. Answer: [`Answer::Resumed`].
    ResumeAfterMove {
        /// Which.
        host: HostKey,
        /// Whose.
        consumer: Consumer,
        /// The label that the host must have.
        cluster_name: String,
    },
    /// All hosts of a consumer. Answer: [`Answer::Held`].
    Held(Consumer),
    /// Whether another machine of the same parent will want the host. Answer: [`Answer::Successor`].
    Successor(Parent),
    /// Free hosts that nobody will come for. Answer: [`Answer::ReservationsEnded`].
    EndReservations(Reservations),
}

/// Which host to reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Whom for; also names the namespace.
    pub consumer: Consumer,
    /// UID of the consumer, for people who look at the host.
    pub uid: String,
    /// Name of the Cluster.
    pub cluster_name: String,
    /// What for.
    pub wish: Wish,
    /// Recorded together with the claim.
    pub provision: ProvisionSpec,
}

/// What a machine wants of a host. Of two with the same wish, neither gets a host when the other is told that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Labels to match.
    pub match_labels: BTreeMap<String, String>,
    /// Expressions to match.
    pub expressions: Vec<Expression>,
    /// Failure domain; empty for any.
    pub failure_domain: String,
    /// Rather no host than one outside of the failure domain.
    pub failure_domain_required: bool,
    /// Hosts kept under this key are taken first; empty: none is kept for this machine.
    pub reuse_key: String,
}

/// One label expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// Label.
    pub key: String,
    /// Operator, as the user wrote it.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvisionSpec {
    /// URL, checksum, checksum type and format of the image; all but the URL may be empty.
    pub image: Option<[String; 4]>,
    /// Custom deploy method; may be empty.
    pub custom_deploy: String,
    /// Secret with user data.
    pub user_data: String,
    /// Secret with metadata; may be empty.
    pub meta_data: String,
    /// Secret with network data; may be empty.
    pub network_data: String,
    /// `metadata`, `disabled`, or empty.
    pub cleaning_mode: String,
}

/// Answer to [`Ask::Claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This one.
    Host(Box<HostSummary>),
    /// This one, which a machine of the same parent gave back.
    Reused(Box<HostSummary>),
    /// A host is kept for this machine and not available yet; which, and where it is.
    Reserved(String),
    /// The machine has several hosts in use; which.
    Several(String),
    /// No host fits.
    NoHost {
        /// Hosts looked at.
        candidates: u32,
        /// Why each was turned away.
        rejections: Vec<Rejection>,
    },
}

/// Answer to [`Ask::Provision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// Recorded, now or before.
    Accepted(Box<HostSummary>),
    /// The host is gone.
    Missing,
    /// The host belongs to somebody else.
    Foreign(String),
    /// The host is asked to run something else.
    Different(String),
}

/// Answer to [`Ask::Nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAnswer {
    /// These match.
    Found(NodeMatches),
    /// The workload cluster does not answer.
    Unreachable(String),
}

/// Answer to [`Ask::Release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing left to give back.
    Done,
    /// It takes time; where it is.
    Waiting(String),
    /// Nothing happens to it, because it is still paused from a move.
    PausedForMove,
}

/// The host service did not do what was asked, for a reason that is not the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It cannot be reached or is not ready.
    Unavailable(String),
    /// It does not let us.
    Denied(String),
    /// It does not accept what the user asks for.
    Invalid(String),
}

/// What the shell found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Claim`].
    Claim(Claimed),
    /// To [`Ask::Host`]; none: it does not exist.
    Host(Option<Box<HostSummary>>),
    /// To [`Ask::Provision`].
    Provision(Provisioned),
    /// To [`Ask::Nodes`].
    Nodes(NodeAnswer),
    /// To [`Ask::LinkNode`]; the error, if it failed.
    NodeLinked(Option<String>),
    /// To [`Ask::Release`].
    Release(HostKey, Released),
    /// To [`Ask::Cleaning`].
    Cleaning,
    /// To [`Ask::PrepareMove`]; also when the host is gone or somebody else's, and is none of ours to be moved.
    MovePrepared(HostKey),
    /// To [`Ask::ResumeAfterMove`]; why it was refused, if it was.
    Resumed(HostKey, Option<String>),
    /// To [`Ask::Held`].
    Held(Vec<HostKey>),
    /// To [`Ask::Successor`].
    Successor(Successor),
    /// To [`Ask::EndReservations`].
    ReservationsEnded,
    /// To any ask of the host service.
    Trouble(Trouble),
}

/// Everything answered in this pass.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub(super) claim: Option<Claimed>,
    pub(super) host: Option<Option<HostSummary>>,
    pub(super) provision: Option<Provisioned>,
    pub(super) nodes: Option<NodeAnswer>,
    pub(super) linked: Option<Option<String>>,
    pub(super) releases: BTreeMap<HostKey, Released>,
    pub(super) held: Option<Vec<HostKey>>,
    pub(super) cleaned: bool,
    pub(super) prepared: BTreeSet<HostKey>,
    pub(super) resumed: BTreeMap<HostKey, Option<String>>,
    pub(super) successor: Option<Successor>,
    pub(super) ended: bool,
    pub(super) trouble: Option<Trouble>,
}

impl Seen {
    /// Remembers an answer.
    pub fn record(&mut self, answer: Answer) {
        match answer {
            Answer::Claim(claim) => self.claim = Some(claim),
            Answer::Host(host) => self.host = Some(host.map(|host| *host)),
            Answer::Provision(provision) => self.provision = Some(provision),
            Answer::Nodes(nodes) => self.nodes = Some(nodes),
            Answer::NodeLinked(error) => self.linked = Some(error),
            Answer::Release(host, released) => {
                self.releases.insert(host, released);
            }
            Answer::Held(hosts) => self.held = Some(hosts),
            Answer::Cleaning => self.cleaned = true,
            Answer::MovePrepared(host) => {
                self.prepared.insert(host);
            }
            Answer::Resumed(host, refused) => {
                // Whether it is given back is to be asked anew.
                self.releases.remove(&host);
                self.resumed.insert(host, refused);
            }
            Answer::Successor(successor) => self.successor = Some(successor),
            Answer::ReservationsEnded => self.ended = true,
            Answer::Trouble(trouble) => self.trouble = Some(trouble),
        }
    }
}
