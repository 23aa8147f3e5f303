//! IPv6 networks of a Metal3DataTemplate.

use super::{
    common::{each, filled, narrow},
    network_data::pool_ref,
};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::NetworkDataIPv6> for v1beta2::NetworkDataIPv6 {
    fn from(network: v1beta1::NetworkDataIPv6) -> Self {
        let v1beta1::NetworkDataIPv6 {
            id,
            link,
            ip_address_from_ip_pool,
            from_pool_ref,
            from_pool_annotation,
            routes,
        } = network;
        Self {
            id,
            link,
            ip_address_from_ip_pool: filled(ip_address_from_ip_pool),
            from_pool_ref: pool_ref(from_pool_ref),
            from_pool_annotation: from_pool_annotation.map(Into::into),
            routes: each(routes),
        }
    }
}

impl From<v1beta2::NetworkDataIPv6> for v1beta1::NetworkDataIPv6 {
    fn from(network: v1beta2::NetworkDataIPv6) -> Self {
        let v1beta2::NetworkDataIPv6 {
            id,
            link,
            ip_address_from_ip_pool,
            from_pool_ref,
            from_pool_annotation,
            routes,
        } = network;
        Self {
            id,
            link,
            // As an empty text when there is none: v1beta1 requires it.
            ip_address_from_ip_pool: Some(ip_address_from_ip_pool.unwrap_or_default()),
            from_pool_ref: from_pool_ref.map(Into::into),
            from_pool_annotation: from_pool_annotation.map(Into::into),
            routes: each(routes),
        }
    }
}

impl From<v1beta1::NetworkDataIPv6DHCP> for v1beta2::NetworkDataIPv6DHCP {
    fn from(network: v1beta1::NetworkDataIPv6DHCP) -> Self {
        let v1beta1::NetworkDataIPv6DHCP { id, link, routes } = network;
        Self {
            id,
            link,
            routes: each(routes),
        }
    }
}

impl From<v1beta2::NetworkDataIPv6DHCP> for v1beta1::NetworkDataIPv6DHCP {
    fn from(network: v1beta2::NetworkDataIPv6DHCP) -> Self {
        let v1beta2::NetworkDataIPv6DHCP { id, link, routes } = network;
        Self {
            id,
            link,
            routes: each(routes),
        }
    }
}

impl From<v1beta1::NetworkDataRoutev6> for v1beta2::NetworkDataRoutev6 {
    fn from(route: v1beta1::NetworkDataRoutev6) -> Self {
        let v1beta1::NetworkDataRoutev6 {
            network,
            prefix,
            gateway,
            services,
        } = route;
        Self {
            network,
            prefix: prefix.map(narrow),
            gateway: gateway.into(),
            services: services.map(Into::into),
        }
    }
}

impl From<v1beta2::NetworkDataRoutev6> for v1beta1::NetworkDataRoutev6 {
    fn from(route: v1beta2::NetworkDataRoutev6) -> Self {
        let v1beta2::NetworkDataRoutev6 {
            network,
            prefix,
            gateway,
            services,
        } = route;
        Self {
            network,
            prefix: prefix.map(i64::from),
            gateway: gateway.into(),
            services: services.map(Into::into),
        }
    }
}

impl From<v1beta1::NetworkGatewayv6> for v1beta2::NetworkGatewayv6 {
    fn from(gateway: v1beta1::NetworkGatewayv6) -> Self {
        let v1beta1::NetworkGatewayv6 {
            string,
            from_pool_annotation,
            from_pool_ref,
            from_ip_pool,
        } = gateway;
        Self {
            string: filled(string),
            from_pool_annotation: from_pool_annotation.map(Into::into),
            from_pool_ref: pool_ref(from_pool_ref),
            from_ip_pool: filled(from_ip_pool),
        }
    }
}

impl From<v1beta2::NetworkGatewayv6> for v1beta1::NetworkGatewayv6 {
    fn from(gateway: v1beta2::NetworkGatewayv6) -> Self {
        let v1beta2::NetworkGatewayv6 {
            string,
            from_pool_annotation,
            from_pool_ref,
            from_ip_pool,
        } = gateway;
        Self {
            string,
            from_pool_annotation: from_pool_annotation.map(Into::into),
            from_pool_ref: from_pool_ref.map(Into::into),
            from_ip_pool,
        }
    }
}

impl From<v1beta1::NetworkDataServicev6> for v1beta2::NetworkDataServicev6 {
    fn from(services: v1beta1::NetworkDataServicev6) -> Self {
        let v1beta1::NetworkDataServicev6 {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool: filled(dns_from_ip_pool),
        }
    }
}

impl From<v1beta2::NetworkDataServicev6> for v1beta1::NetworkDataServicev6 {
    fn from(services: v1beta2::NetworkDataServicev6) -> Self {
        let v1beta2::NetworkDataServicev6 {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool,
        }
    }
}
