//! IPv4 networks of a Metal3DataTemplate.

use super::{
    common::{each, filled, narrow},
    network_data::pool_ref,
};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::NetworkDataIPv4> for v1beta2::NetworkDataIPv4 {
    fn from(network: v1beta1::NetworkDataIPv4) -> Self {
        let v1beta1::NetworkDataIPv4 {
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

impl From<v1beta2::NetworkDataIPv4> for v1beta1::NetworkDataIPv4 {
    fn from(network: v1beta2::NetworkDataIPv4) -> Self {
        let v1beta2::NetworkDataIPv4 {
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
            ip_address_from_ip_pool,
            from_pool_ref: from_pool_ref.map(Into::into),
            from_pool_annotation: from_pool_annotation.map(Into::into),
            routes: each(routes),
        }
    }
}

impl From<v1beta1::NetworkDataIPv4DHCP> for v1beta2::NetworkDataIPv4DHCP {
    fn from(network: v1beta1::NetworkDataIPv4DHCP) -> Self {
        let v1beta1::NetworkDataIPv4DHCP { id, link, routes } = network;
        Self {
            id,
            link,
            routes: each(routes),
        }
    }
}

impl From<v1beta2::NetworkDataIPv4DHCP> for v1beta1::NetworkDataIPv4DHCP {
    fn from(network: v1beta2::NetworkDataIPv4DHCP) -> Self {
        let v1beta2::NetworkDataIPv4DHCP { id, link, routes } = network;
        Self {
            id,
            link,
            routes: each(routes),
        }
    }
}

impl From<v1beta1::NetworkDataRoutev4> for v1beta2::NetworkDataRoutev4 {
    fn from(route: v1beta1::NetworkDataRoutev4) -> Self {
        let v1beta1::NetworkDataRoutev4 {
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

impl From<v1beta2::NetworkDataRoutev4> for v1beta1::NetworkDataRoutev4 {
    fn from(route: v1beta2::NetworkDataRoutev4) -> Self {
        let v1beta2::NetworkDataRoutev4 {
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

impl From<v1beta1::NetworkGatewayv4> for v1beta2::NetworkGatewayv4 {
    fn from(gateway: v1beta1::NetworkGatewayv4) -> Self {
        let v1beta1::NetworkGatewayv4 {
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

impl From<v1beta2::NetworkGatewayv4> for v1beta1::NetworkGatewayv4 {
    fn from(gateway: v1beta2::NetworkGatewayv4) -> Self {
        let v1beta2::NetworkGatewayv4 {
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

impl From<v1beta1::NetworkDataServicev4> for v1beta2::NetworkDataServicev4 {
    fn from(services: v1beta1::NetworkDataServicev4) -> Self {
        let v1beta1::NetworkDataServicev4 {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool: filled(dns_from_ip_pool),
        }
    }
}

impl From<v1beta2::NetworkDataServicev4> for v1beta1::NetworkDataServicev4 {
    fn from(services: v1beta2::NetworkDataServicev4) -> Self {
        let v1beta2::NetworkDataServicev4 {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool,
        }
    }
}
