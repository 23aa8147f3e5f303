use super::*;
use crate::proto::sample;

/// Keeps all rules.
const GOOD: &str = r#"
    // The service.
    service HostService {
        // The call.
        rpc GetHost(GetHostRequest) returns (GetHostResponse);
    }
    // Asks.
    message GetHostRequest {
        // Which.
        string host_name = 1;
        // A choice.
        oneof which {
            int32 first = 2; // One.
            // The other.
            int32 second = 3;
        }
        // Perhaps.
        optional bool perhaps = 4;
        // By name.
        map<string, Mode> modes = 5;
    }
    // Answers.
    message GetHostResponse {}
    // How.
    enum Mode {
        MODE_UNSPECIFIED = 0;
        // Fast.
        MODE_FAST = 1;
    }"#;

#[test]
fn a_contract_that_keeps_the_rules_is_fine() {
    assert_eq!(check(&sample::one(GOOD)), Vec::<String>::new());
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for (part, replacement, expected) in [
        ("// The service.", "", "HostService: COMMENT_SERVICE"),
        ("// The call.", "", "HostService.GetHost: COMMENT_RPC"),
        ("// Asks.", "", "a.v1.GetHostRequest: COMMENT_MESSAGE"),
        ("// Which.", "//", "a.v1.GetHostRequest.host_name: COMMENT_FIELD"),
        ("// One.", "", "a.v1.GetHostRequest.first: COMMENT_FIELD"),
        ("// A choice.", "", "a.v1.GetHostRequest.which: COMMENT_ONEOF"),
        ("// How.", "", "a.v1.Mode: COMMENT_ENUM"),
        ("// Fast.", "", "a.v1.Mode.MODE_FAST: COMMENT_ENUM_VALUE"),
        (
            "host_name",
            "hostName",
            "a.v1.GetHostRequest.hostName: FIELD_LOWER_SNAKE_CASE",
        ),
        (
            "host_name",
            "host_1",
            "a.v1.GetHostRequest.host_1: FIELD_LOWER_SNAKE_CASE",
        ),
        (
            "oneof which",
            "oneof Which",
            "a.v1.GetHostRequest.Which: ONEOF_LOWER_SNAKE_CASE",
        ),
        ("GetHostRequest", "Get_host", "a.v1.Get_host: MESSAGE_PASCAL_CASE"),
        (
            "GetHostRequest",
            "Ask",
            "HostService.GetHost: RPC_REQUEST_STANDARD_NAME",
        ),
        (
            "GetHostResponse",
            "Answer",
            "HostService.GetHost: RPC_RESPONSE_STANDARD_NAME",
        ),
        (
            "rpc GetHost",
            "rpc getHost",
            "HostService.getHost: RPC_PASCAL_CASE",
        ),
        ("service HostService", "service Hosts", "Hosts: SERVICE_SUFFIX"),
        (
            "service HostService",
            "service hostService",
            "hostService: SERVICE_PASCAL_CASE",
        ),
        (
            "rpc GetHost(GetHostRequest)",
            "rpc GetHost(GetHostResponse)",
            "a.v1.GetHostResponse of HostService.GetHost and HostService.GetHost: RPC_REQUEST_RESPONSE_UNIQUE",
        ),
        (
            "MODE_UNSPECIFIED",
            "MODE_UNKNOWN",
            "a.v1.Mode.MODE_UNKNOWN: ENUM_ZERO_VALUE_SUFFIX",
        ),
        ("MODE_FAST", "FAST", "a.v1.Mode.FAST: ENUM_VALUE_PREFIX"),
        (
            "MODE_FAST",
            "MODE_Fast",
            "a.v1.Mode.MODE_Fast: ENUM_VALUE_UPPER_SNAKE_CASE",
        ),
        ("enum Mode", "enum mode", "a.v1.mode: ENUM_PASCAL_CASE"),
    ] {
        assert!(GOOD.contains(part), "{part}");
        let text = GOOD.replace(part, replacement).replace(
            "string, Mode",
            if part == "enum Mode" {
                "string, mode"
            } else {
                "string, Mode"
            },
        );
        let found = check(&sample::one(&text));
        let told = found.iter().any(|line| line.ends_with(expected));
        assert!(told, "{part} → {replacement}: {found:?}");
    }
}

#[test]
fn packages_have_a_version_and_a_folder() {
    let found = |path: &str, package: &str| {
        check(&sample::compiled(&[(path, &format!("package {package};"))])).join("\n")
    };
    assert_eq!(found("a/v1beta2/a.proto", "a.v1beta2"), "");
    assert!(found("a/one/a.proto", "a.one").ends_with("a.one: PACKAGE_VERSION_SUFFIX"));
    assert!(found("a/v1gamma/a.proto", "a.v1gamma").ends_with("PACKAGE_VERSION_SUFFIX"));
    assert!(found("b/v1/a.proto", "a.v1").ends_with("a.v1: PACKAGE_DIRECTORY_MATCH"));
    assert!(found("A/v1/a.proto", "A.v1").ends_with("A.v1: PACKAGE_LOWER_SNAKE_CASE"));
}

#[test]
fn an_import_is_used() {
    let found = |text: &str| {
        let (base, user) = (
            "package a.v1;\n// A.\nmessage A { \n// B.\nenum B { B_UNSPECIFIED = 0; } }",
            format!("package a.v1; import \"a/v1/base.proto\"; {text}"),
        );
        check(&sample::compiled(&[
            ("a/v1/base.proto", base),
            ("a/v1/user.proto", &user),
        ]))
        .join("\n")
    };
    assert_eq!(found(""), "a/v1/user.proto: a/v1/base.proto: IMPORT_USED");
    assert_eq!(found("\n// C.\nmessage C {\n // B.\n A.B b = 1; }"), "");
    assert_eq!(
        found("\n// C.\nmessage C {\n // B.\n map<string, A> b = 1; }"),
        ""
    );
    assert!(found("\n// C.\nmessage C {\n // B.\n string b = 1; }").ends_with("IMPORT_USED"));
}
