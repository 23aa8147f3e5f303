//! Metal3DataClaim and Metal3Data.

use super::common::{filled, narrow, narrow_ref, narrow_required, widen_ref, widen_required};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::Metal3DataClaimSpec> for v1beta2::Metal3DataClaimSpec {
    fn from(spec: v1beta1::Metal3DataClaimSpec) -> Self {
        let v1beta1::Metal3DataClaimSpec { template } = spec;
        Self {
            template: narrow_required(template),
        }
    }
}

impl From<v1beta2::Metal3DataClaimSpec> for v1beta1::Metal3DataClaimSpec {
    fn from(spec: v1beta2::Metal3DataClaimSpec) -> Self {
        let v1beta2::Metal3DataClaimSpec { template } = spec;
        Self {
            template: widen_required(template),
        }
    }
}

impl From<v1beta1::Metal3DataClaimStatus> for v1beta2::Metal3DataClaimStatus {
    fn from(status: v1beta1::Metal3DataClaimStatus) -> Self {
        let v1beta1::Metal3DataClaimStatus {
            rendered_data,
            error_message,
        } = status;
        Self {
            rendered_data: rendered_data.map(narrow_ref),
            error_message: filled(error_message),
        }
    }
}

impl From<v1beta2::Metal3DataClaimStatus> for v1beta1::Metal3DataClaimStatus {
    fn from(status: v1beta2::Metal3DataClaimStatus) -> Self {
        let v1beta2::Metal3DataClaimStatus {
            rendered_data,
            error_message,
        } = status;
        Self {
            rendered_data: rendered_data.map(widen_ref),
            error_message,
        }
    }
}

impl From<v1beta1::Metal3DataSpec> for v1beta2::Metal3DataSpec {
    fn from(spec: v1beta1::Metal3DataSpec) -> Self {
        let v1beta1::Metal3DataSpec {
            index,
            meta_data,
            network_data,
            claim,
            template,
            // Nothing reads it.
            template_reference: _,
        } = spec;
        Self {
            index: index.map(narrow),
            meta_data,
            network_data,
            claim: narrow_required(claim),
            template: narrow_required(template),
        }
    }
}

impl From<v1beta2::Metal3DataSpec> for v1beta1::Metal3DataSpec {
    fn from(spec: v1beta2::Metal3DataSpec) -> Self {
        let v1beta2::Metal3DataSpec {
            index,
            meta_data,
            network_data,
            claim,
            template,
        } = spec;
        Self {
            index: index.map(i64::from),
            meta_data,
            network_data,
            claim: widen_required(claim),
            template: widen_required(template),
            template_reference: None,
        }
    }
}

impl From<v1beta1::Metal3DataStatus> for v1beta2::Metal3DataStatus {
    fn from(status: v1beta1::Metal3DataStatus) -> Self {
        let v1beta1::Metal3DataStatus { ready, error_message } = status;
        Self {
            ready,
            error_message: filled(error_message),
        }
    }
}

impl From<v1beta2::Metal3DataStatus> for v1beta1::Metal3DataStatus {
    fn from(status: v1beta2::Metal3DataStatus) -> Self {
        let v1beta2::Metal3DataStatus { ready, error_message } = status;
        Self { ready, error_message }
    }
}
