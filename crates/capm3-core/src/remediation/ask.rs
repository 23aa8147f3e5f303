//! What may be asked of the shell, and what it answers.

use super::node::{NodeName, NodeSeen};
use crate::host::{Consumer, HostKey};
use crate::machine::Trouble;

/// One thing to find out or to do. Each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look at the host. Answer: [`Answer::Host`].
    Host(HostKey),
    /// Keep the host powered off as long as the key is there. Answer: [`Answer::Held`] or [`Answer::PoweredOffByUser`].
    Hold(Hold),
    /// End that. Answer: [`Answer::Released`].
    Release(Hold),
    /// Nobody is to claim the host again. Answer: [`Answer::Marked`] or [`Answer::GivenBack`].
    Mark {
        /// Which.
        host: HostKey,
        /// Whose.
        consumer: Consumer,
    },
    /// Look at the Node. Answer: [`Answer::Node`].
    Node {
        /// Which.
        node: NodeName,
        /// Also count what still runs or is attached there.
        workloads: bool,
    },
    /// Change the Node. Answer: [`Answer::NodeChanged`].
    ChangeNode(NodeName, NodeChange),
    /// Say on the Machine how far its remediation is; none: that there is none any more. Answer: [`Answer::Told`].
    Tell(Option<Progress>),
    /// Let the owner of the Machine replace it. Answer: [`Answer::HandedOver`].
    HandOver(Progress),
}

/// A power hold on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which host.
    pub host: HostKey,
    /// Whose.
    pub consumer: Consumer,
    /// Whose hold it is.
    pub key: String,
}

/// What to do with a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Out of service: its Pods are evicted and its volumes detached at once.
    Taint,
    /// In service again.
    Untaint,
    /// Gone, for clusters that do not know the taint.
    Delete,
    /// Labels and annotations as they were, where the Node that came back has none of that name.
    Restore(super::node::Backup),
}

/// How far a remediation is, as the condition ExternallyRemediated of the Machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// One word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The facts about a host that decisions need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Who uses it.
    pub consumer: Option<Consumer>,
    /// Observed power.
    pub powered_on: bool,
    /// Desired power, as the user wants it.
    pub online: bool,
    /// It is rebooted where others are powered off.
    pub never_off: bool,
    /// Nobody is to claim it.
    pub unhealthy: bool,
    /// Who holds it off.
    pub holds: Vec<String>,
    /// For whom a host that is never off was rebooted.
    pub rebooted_for: Vec<String>,
    /// `status.errorMessage`; empty when it is well.
    pub error: String,
}

/// Answer to [`Ask::Node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAnswer {
    /// This is it.
    Present(Box<NodeSeen>),
    /// There is no such Node.
    Missing,
    /// The workload cluster does not let us.
    Forbidden(String),
    /// The workload cluster does not answer.
    Unreachable(String),
    /// There is no way into the workload cluster: it has no kubeconfig.
    NoWay(String),
}

/// What the shell found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Host`]; none: it does not exist.
    Host(Option<HostFacts>),
    /// To [`Ask::Hold`]: the host afterwards; none: it is gone, going, or somebody else's.
    Held(Option<HostFacts>),
    /// To [`Ask::Hold`]: the user wants the host off, so it will not come back either.
    PoweredOffByUser,
    /// To [`Ask::Release`]: the host afterwards; none: it is gone or somebody else's.
    Released(Option<HostFacts>),
    /// To [`Ask::Mark`]: it is, or it goes.
    Marked,
    /// To [`Ask::Mark`]: the host is not the machine's any more, and stays as it is.
    GivenBack,
    /// To [`Ask::Node`].
    Node(NodeAnswer),
    /// To [`Ask::ChangeNode`]; the error, if it failed.
    NodeChanged(Option<String>),
    /// To [`Ask::Tell`].
    Told,
    /// To [`Ask::HandOver`].
    HandedOver,
    /// To any ask of the host service.
    Trouble(Trouble),
}

/// Everything answered in this pass.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub(super) host: Option<Option<HostFacts>>,
    pub(super) held: bool,
    pub(super) refused: bool,
    pub(super) released: bool,
    pub(super) marked: bool,
    pub(super) given_back: bool,
    pub(super) node: Option<NodeAnswer>,
    pub(super) changed: Option<Option<String>>,
    pub(super) told: bool,
    pub(super) handed_over: bool,
    pub(super) trouble: Option<Trouble>,
}

impl Seen {
    /// Remembers an answer.
    pub fn record(&mut self, answer: Answer) {
        match answer {
            Answer::Host(host) => self.host = Some(host),
            Answer::Held(host) => (self.held, self.host) = (true, Some(host)),
            Answer::PoweredOffByUser => self.refused = true,
            Answer::Released(host) => (self.released, self.host) = (true, Some(host)),
            Answer::Marked => self.marked = true,
            // It is looked at anew: another pass may have marked it before.
            Answer::GivenBack => (self.given_back, self.host) = (true, None),
            Answer::Node(node) => self.node = Some(node),
            Answer::NodeChanged(error) => self.changed = Some(error),
            Answer::Told => self.told = true,
            Answer::HandedOver => self.handed_over = true,
            Answer::Trouble(trouble) => self.trouble = Some(trouble),
        }
    }
}
