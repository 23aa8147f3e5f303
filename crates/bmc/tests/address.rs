//! The addresses of upstream's users, and whatever else they may type.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use metal3_bmc::{AddressError, Bmc, Info};
use proptest::prelude::*;

fn scheme(address: &str) -> Result<String, AddressError> {
    address.parse::<Bmc>().map(|bmc| bmc.scheme)
}

#[test]
fn addresses_parse_as_upstream_parses_them() {
    for (address, expected, host, port) in [
        ("192.168.1.1", "ipmi", "192.168.1.1", None),
        ("192.168.1.1:623", "ipmi", "192.168.1.1", Some("623")),
        ("host", "ipmi", "host", None),
        ("host/path", "ipmi", "host", None),
        ("ipmi:host:6230", "ipmi", "host", Some("6230")),
        ("[fe80::1]:623", "ipmi", "[fe80::1]", Some("623")),
        ("/host", "ipmi", "", None),
        ("redfish://host:99999", "redfish", "host", Some("99999")),
        ("redfish://[fe80::1]/x", "redfish", "[fe80::1]", None),
        ("redfish://u:p@host/x?y=z", "redfish", "host", None),
        ("redfish://u:p@q@host/x", "redfish", "host", None),
        ("IPMI://h", "ipmi", "h", None),
        ("RedFish+HTTP://h/x", "redfish+http", "h", None),
        ("redfish:host/redfish/v1/Systems/1", "redfish", "host", None),
        ("redfish+https:host:8000/x", "redfish+https", "host", Some("8000")),
        (
            "libvirt://192.168.122.1:6233/",
            "libvirt",
            "192.168.122.1",
            Some("6233"),
        ),
    ] {
        let bmc = address.parse::<Bmc>().expect(address);
        assert_eq!(
            (bmc.scheme.as_str(), bmc.host.as_str(), bmc.port.as_deref()),
            (expected, host, port),
            "{address}"
        );
    }
}

#[test]
fn what_upstream_refuses_is_refused() {
    for address in [
        "host:623",
        "host.example.com:623",
        "fe80::1",
        "//host",
        "ilo4://h",
        "ilo5://h",
        "irmc://h",
        "idrac://h",
        "redfish+ftp://h",
        "redfish+://h",
        "ipmi+http://h",
        "libvirt+https://h",
        "redfish+http+https://h",
    ] {
        assert!(
            matches!(scheme(address), Err(AddressError::UnknownScheme { .. })),
            "{address}"
        );
    }
    let long = format!("redfish://{}.example.com", "a".repeat(64));
    for address in [
        "my_host",
        "ipmi://-bad",
        "ipmi://bad-.example.com",
        "redfish://h.example.com./x",
        "redfish://ho st",
        "redfish://fe80::1/x",
        "ipmi://[fe80::1%25eth0]",
        "ipmi://[nothing]",
        &long,
    ] {
        assert!(
            matches!(scheme(address), Err(AddressError::Host { .. })),
            "{address}"
        );
    }
    for address in [
        "[fe80::1]",
        "redfish://host:abc",
        "redfish://[fe80::1]x",
        "redfish://host/a\nb",
    ] {
        assert!(
            matches!(scheme(address), Err(AddressError::Malformed { .. })),
            "{address:?}"
        );
    }
    // Upstream takes the blank for a part of the host; what counts is that it is refused.
    assert!(scheme(" redfish://host").is_err());
    assert_eq!(scheme(""), Err(AddressError::Empty));
}

#[test]
fn a_refusal_says_what_is_known() {
    let refusal = scheme("ilo4://h").unwrap_err().to_string();
    assert!(
        refusal.starts_with("Unknown BMC type 'ilo4' for address ilo4://h"),
        "{refusal}"
    );
    let refusal = scheme("my_host").unwrap_err().to_string();
    assert!(
        refusal.ends_with("BMC address hostname/IP : [my_host] is invalid"),
        "{refusal}"
    );
}

#[test]
fn a_refusal_does_not_tell_user_and_password() {
    for (address, shown) in [
        ("ilo4://admin:hunter2@h/x", "ilo4://…@h/x"),
        ("redfish://admin:hunter2@h:abc", "redfish://…@h:abc"),
        ("redfish://admin:hunter2/hunter2@h", "redfish://…@h"),
        ("//admin:hunter2@h", "…@h"),
        ("[admin:hunter2@h", "…@h"),
        ("redfish://admin:hunter2@ho\nst", "redfish://…@ho"),
    ] {
        let refusal = scheme(address).unwrap_err().to_string();
        assert!(
            !refusal.contains("hunter2") && !refusal.contains("admin"),
            "{address}: {refusal}"
        );
        assert!(refusal.contains(shown), "{address}: {refusal}");
    }
    // A host that is refused is told alone.
    let refusal = scheme("redfish://admin:hunter2@my_host/x").unwrap_err();
    assert_eq!(
        refusal,
        AddressError::Host {
            host: "my_host".into()
        }
    );
}

/// One line of upstream's table of schemes.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
    [bool; 4],
);

#[test]
fn each_scheme_has_the_facts_of_upstream() {
    const RF: Option<&str> = Some("redfish");
    const ID: Option<&str> = Some("idrac-redfish");
    // scheme, driver, boot, bios, management, raid, firmware = fast inspection, [MAC, secure boot, ISO, prov. network]
    #[rustfmt::skip]
    let rows: [Row; 9] = [
        ("ipmi", "ipmi", "ipxe", None, None, "no-raid", None, [false, false, false, true]),
        ("libvirt", "ipmi", "ipxe", None, None, "no-raid", None, [true, false, false, true]),
        ("redfish", "redfish", "ipxe", None, None, "redfish", RF, [false, true, false, true]),
        ("ilo5-redfish", "redfish", "ipxe", None, None, "redfish", RF, [false, true, false, true]),
        ("redfish-virtualmedia", "redfish", "redfish-virtual-media", None, None, "redfish", RF, [false, true, true, false]),
        ("ilo5-virtualmedia", "redfish", "redfish-virtual-media", None, None, "redfish", RF, [false, true, true, false]),
        ("redfish-uefihttp", "redfish", "redfish-https", None, None, "redfish", RF, [false, true, true, false]),
        ("idrac-redfish", "idrac", "ipxe", ID, ID, "idrac-redfish", RF, [false, true, false, true]),
        ("idrac-virtualmedia", "idrac", "idrac-redfish-virtual-media", ID, ID, "idrac-redfish", RF, [false, true, true, false]),
    ];
    for row in rows {
        let (scheme, driver, boot, bios, management, raid, firmware, flags) = row;
        let bmc: Bmc = format!("{scheme}://h").parse().unwrap();
        let facts = bmc.driver;
        assert_eq!(
            (
                facts.scheme,
                facts.driver,
                facts.boot,
                facts.bios,
                facts.management,
                facts.raid,
                facts.firmware,
                [
                    facts.needs_mac,
                    facts.secure_boot,
                    facts.boots_iso,
                    facts.needs_provisioning_network()
                ]
            ),
            row
        );
        assert_eq!(facts.fast_inspect, firmware, "{scheme}");
        let _ = (driver, boot, bios, management, raid, flags);
        let redfish = !matches!(scheme, "ipmi" | "libvirt");
        for transport in ["http", "https"] {
            let parsed = format!("{scheme}+{transport}://h").parse::<Bmc>();
            assert_eq!(
                parsed.map(|bmc| bmc.transport).ok(),
                redfish.then_some(transport),
                "{scheme}+{transport}"
            );
        }
        assert_eq!(bmc.transport, "https", "{scheme}");
    }
}

fn info(address: &str) -> Vec<(&'static str, Info)> {
    address.parse::<Bmc>().unwrap().driver_info(false)
}

fn text(info: &[(&'static str, Info)], key: &str) -> Option<String> {
    let (_, value) = info.iter().find(|(name, _)| *name == key)?;
    Some(match value {
        Info::Text(text) => text.clone(),
        Info::Flag(flag) => flag.to_string(),
    })
}

#[test]
fn a_system_id_is_sent_only_when_it_says_something() {
    for address in [
        "redfish://host",
        "redfish://host/",
        "redfish://host//",
        "redfish://host/redfish/v1",
        "redfish://host/redfish/v1/",
        "redfish://host/#fragment",
        "redfish://host?query=/x",
    ] {
        assert_eq!(text(&info(address), "redfish_system_id"), None, "{address}");
    }
    for (address, id) in [
        ("redfish://host/redfish/v1/Systems/1/", "/redfish/v1/Systems/1/"),
        ("redfish://host/x#fragment", "/x"),
        ("redfish://host/x?y=z#fragment", "/x"),
        ("redfish-uefihttp://host", ""),
        ("redfish-uefihttp://host/redfish/v1/", "/redfish/v1/"),
    ] {
        assert_eq!(
            text(&info(address), "redfish_system_id").as_deref(),
            Some(id),
            "{address}"
        );
    }
}

#[test]
fn driver_info_follows_the_address() {
    let redfish = info("redfish+http://u:p@[fe80::1]:8000/x?y=z");
    assert_eq!(
        text(&redfish, "redfish_address").as_deref(),
        Some("http://[fe80::1]:8000")
    );
    assert_eq!(text(&redfish, "redfish_verify_ca"), None);
    let ipmi = info("ipmi://h?privilegelevel=OPERATOR&privilegelevel=USER");
    assert_eq!(text(&ipmi, "ipmi_priv_level").as_deref(), Some("OPERATOR"));
    assert_eq!(text(&ipmi, "ipmi_port").as_deref(), Some("623"));
    for (address, level) in [
        ("ipmi://h", "ADMINISTRATOR"),
        ("ipmi://h?privilegelevel=", ""),
        ("ipmi://h?other=x", "ADMINISTRATOR"),
    ] {
        assert_eq!(
            text(&info(address), "ipmi_priv_level").as_deref(),
            Some(level),
            "{address}"
        );
    }
    let unverified = "ipmi://[fe80::1]:6230".parse::<Bmc>().unwrap().driver_info(true);
    assert_eq!(text(&unverified, "ipmi_address").as_deref(), Some("fe80::1"));
    assert_eq!(text(&unverified, "ipmi_port").as_deref(), Some("6230"));
    assert_eq!(text(&unverified, "ipmi_verify_ca").as_deref(), Some("false"));
}

#[test]
fn each_family_names_its_settings() {
    for (address, verify, username, password) in [
        (
            "ipmi://h/ignored",
            "ipmi_verify_ca",
            "ipmi_username",
            "ipmi_password",
        ),
        (
            "idrac-redfish://h",
            "redfish_verify_ca",
            "redfish_username",
            "redfish_password",
        ),
    ] {
        let bmc = address.parse::<Bmc>().unwrap();
        let family = bmc.driver.family;
        assert_eq!(
            (family.key("username"), family.key("password")),
            (username, password)
        );
        assert_eq!(text(&bmc.driver_info(true), verify).as_deref(), Some("false"));
        assert_eq!(text(&bmc.driver_info(false), verify), None);
    }
    let ipmi: Vec<_> = info("ipmi://h/ignored?x=y")
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(ipmi, ["ipmi_address", "ipmi_port", "ipmi_priv_level"]);
}

fn address() -> impl Strategy<Value = String> {
    // Pieces that mean something to the parser, in any order.
    let piece = prop_oneof![
        Just("redfish"),
        Just("ipmi"),
        Just("idrac-virtualmedia"),
        Just("+"),
        Just("http"),
        Just("://"),
        Just("//"),
        Just(":"),
        Just("/"),
        Just("@"),
        Just("["),
        Just("]"),
        Just("?"),
        Just("#"),
        Just("privilegelevel="),
        Just("&"),
        Just("%"),
        Just("host"),
        Just("1.2.3.4"),
        Just("fe80::1"),
        Just("623"),
        Just("."),
        Just("-"),
        Just(" "),
        Just("é"),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        let _ = text.parse::<Bmc>().map(|bmc| bmc.driver_info(true));
    }

    #[test]
    fn what_is_accepted_is_clean(text in address()) {
        if let Ok(bmc) = text.parse::<Bmc>() {
            let host = bmc.host.trim_matches(['[', ']']);
            prop_assert!(host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c)), "{}", bmc.host);
            prop_assert!(bmc.port.iter().all(|port| port.bytes().all(|byte| byte.is_ascii_digit())));
            prop_assert!(bmc.path.is_empty() || bmc.path.starts_with('/'));
            prop_assert!(!bmc.path.contains(['?', '#']));
            prop_assert!(bmc.scheme.starts_with(bmc.driver.scheme));
            for (_, value) in bmc.driver_info(true) {
                let Info::Text(value) = value else { continue };
                prop_assert!(!value.contains('@') || bmc.path.contains('@') || text.contains("privilegelevel"), "{value}");
            }
        }
    }

    #[test]
    fn what_was_parsed_parses_to_the_same_again(text in address()) {
        if let Ok(bmc) = text.parse::<Bmc>() {
            let port = bmc.port.as_ref().map(|port| format!(":{port}")).unwrap_or_default();
            let query = bmc.privilege_level.as_ref().map(|level| format!("?privilegelevel={level}")).unwrap_or_default();
            let canonical = format!("{}://{}{port}{}{query}", bmc.scheme, bmc.host, bmc.path);
            prop_assert_eq!(canonical.parse::<Bmc>(), Ok(bmc));
        }
    }

    #[test]
    fn every_well_formed_redfish_address_survives(
        host in "[a-z]{1,20}", port in 1u16.., path in "(/[a-zA-Z0-9]{1,8}){1,4}",
    ) {
        let bmc: Bmc = format!("redfish://{host}:{port}{path}").parse().unwrap();
        prop_assert_eq!(text(&bmc.driver_info(false), "redfish_address"), Some(format!("https://{host}:{port}")));
        prop_assert_eq!(bmc.path, path);
    }
}
