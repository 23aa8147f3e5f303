/// What a failure of a host means: code and remedy are part of the contract with users, as those of a
/// [`WaitReason`](crate::WaitReason).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// Nothing that is understood; the backend's words say what they say.
    #[default]
    Unknown,
    /// What the user asks for contradicts itself, or this BMC cannot do it.
    Unsupported,
    /// Another node of the backend has the boot MAC address.
    MacConflict,
}

impl FailureCause {
    /// All causes, for catalogues and tests.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Unsupported, Self::MacConflict];

    /// The CamelCase code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Unsupported => "Unsupported",
            Self::MacConflict => "MACConflict",
        }
    }

    /// What a user can do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unknown => "look at the node's last_error in Ironic and at the log of its conductor",
            Self::Unsupported => "correct the spec of the host",
            Self::MacConflict => {
                "correct spec.bootMACAddress, or delete the other node in Ironic if nothing uses it"
            }
        }
    }
}
