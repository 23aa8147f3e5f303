//! `ipam.metal3.io/v1alpha1`: address pools, claims and addresses.
