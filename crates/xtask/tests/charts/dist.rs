//! What `xtask dist` writes: clusterctl and Helm must install the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::helm;

fn dist(name: &str, arguments: &[&str]) -> PathBuf {
    let out = helm::scratch(name);
    fs::remove_dir_all(&out).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("dist").arg(&out).args(arguments);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    out
}

fn components(folder: &Path) -> String {
    fs::read_to_string(folder.join("infrastructure-components.yaml")).unwrap()
}

/// As clusterctl does it: a value, or the default.
fn filled_in(text: &str, values: &[(&str, &str)]) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        let (name, default) = match variable.split_once(":=") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        let value = values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value);
        filled += value.or(default).unwrap_or_else(|| panic!("{name} has no value"));
        filled += rest;
    }
    filled
}

/// Without what tells who installed it.
fn plain(mut object: Value) -> Value {
    let mut strip = |path: &str, names: &[&str]| {
        if let Some(Value::Object(map)) = object.pointer_mut(path) {
            map.retain(|name, _| !names.contains(&name.as_str()));
        }
    };
    strip(
        "/metadata/labels",
        &[
            "helm.sh/chart",
            "app.kubernetes.io/managed-by",
            "cluster.x-k8s.io/provider",
        ],
    );
    strip("/spec/template/metadata/annotations", &["checksum/ironic"]);
    object
}

#[test]
fn clusterctl_installs_what_helm_installs() {
    let out = dist("dist", &[]);
    let folder = out
        .join("infrastructure-metal3")
        .join(concat!("v", env!("CARGO_PKG_VERSION")));
    for file in [
        "metadata.yaml",
        "cluster-template.yaml",
        "cluster-template-topology.yaml",
        "clusterclass-metal3.yaml",
    ] {
        assert!(folder.join(file).exists(), "{file}");
    }
    let text = filled_in(
        &components(&folder),
        &[
            ("IRONIC_ENDPOINT", "https://ironic/v1"),
            ("IRONIC_USERNAME", "admin"),
            ("IRONIC_PASSWORD", "pass"),
            ("DEPLOY_KERNEL_URL", "http://k"),
            ("DEPLOY_RAMDISK_URL", "http://r"),
            ("CAPM3_FAST_TRACK", "true"),
        ],
    );
    let clusterctl = helm::objects(&text);
    let values = "
metal3-bmo:
  ironic: {endpoint: https://ironic/v1, username: admin, password: pass, deployKernelUrl: http://k, deployRamdiskUrl: http://r}
  metrics: {service: {enabled: false}}
metal3-capm3: {fastTrack: true, metrics: {service: {enabled: false}}}
";
    let mut with_helm = helm::render("metal3", values);
    // Helm makes these for `helm test` only; clusterctl would make them at once.
    with_helm.retain(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null());
    let (namespace, clusterctl): (Vec<Value>, Vec<Value>) = clusterctl
        .into_iter()
        .partition(|object| object["kind"] == "Namespace");
    assert_eq!(namespace.len(), 1);
    for object in clusterctl.iter().chain(&namespace) {
        let provider = &object["metadata"]["labels"]["cluster.x-k8s.io/provider"];
        assert_eq!(provider, "infrastructure-metal3", "{}", helm::id(object));
    }
    let mut names: Vec<String> = clusterctl.iter().map(helm::id).collect();
    let mut wanted: Vec<String> = with_helm.iter().map(helm::id).collect();
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted);
    for object in clusterctl {
        let id = helm::id(&object);
        assert_eq!(plain(object), plain(helm::find(&with_helm, &id).clone()), "{id}");
    }
}

/// Without any variable but the one that has no default.
#[test]
fn defaults_of_variables_are_texts() {
    let out = dist("defaults", &[]);
    let folder = out
        .join("infrastructure-metal3")
        .join(concat!("v", env!("CARGO_PKG_VERSION")));
    let objects = helm::objects(&filled_in(
        &components(&folder),
        &[("IRONIC_ENDPOINT", "https://ironic/v1")],
    ));
    let ironic = &helm::find(&objects, "ConfigMap capm3-system/ironic")["data"];
    for (name, value) in ironic.as_object().unwrap() {
        assert!(value.is_string(), "{name} is {value}");
    }
    assert_eq!(
        (&ironic["PROVISIONING_LIMIT"], &ironic["DEPLOY_KERNEL_URL"]),
        (&"20".into(), &"".into())
    );
    let login = &helm::find(&objects, "Secret capm3-system/ironic-credentials")["stringData"];
    assert_eq!((&login["username"], &login["password"]), (&"".into(), &"".into()));
}

#[test]
fn the_example_variables_are_all_that_the_template_of_a_cluster_needs() {
    let templates = helm::root().join("templates");
    let read = |file: &str| fs::read_to_string(templates.join(file)).unwrap();
    let example = read("example_variables.rc");
    let mut values: Vec<(&str, &str)> = example
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    let template = read("cluster-template.yaml");
    for (name, _) in &values {
        assert!(
            template.contains(&format!("${{{name}")),
            "{name} is not in the template"
        );
    }
    // What clusterctl sets from its own flags.
    values.extend([
        ("CLUSTER_NAME", "c"),
        ("NAMESPACE", "ns"),
        ("KUBERNETES_VERSION", "v1.36.1"),
        ("CONTROL_PLANE_MACHINE_COUNT", "3"),
        ("WORKER_MACHINE_COUNT", "2"),
    ]);
    let objects = helm::objects(&filled_in(&template, &values));
    let cluster = helm::find(&objects, "Metal3Cluster ns/c");
    assert_eq!(
        cluster["spec"]["controlPlaneEndpoint"]["host"], "192.0.2.249",
        "{cluster}"
    );
}

#[test]
fn another_version_can_be_released() {
    let out = dist("next", &["--version", "v0.3.0", "--image-tag", "test"]);
    let folder = out.join("infrastructure-metal3/v0.3.0");
    let metadata: Value =
        serde_saphyr::from_str(&fs::read_to_string(folder.join("metadata.yaml")).unwrap()).unwrap();
    let series = metadata["releaseSeries"].as_array().unwrap();
    let minors: Vec<u64> = series
        .iter()
        .map(|series| series["minor"].as_u64().unwrap())
        .collect();
    assert_eq!(minors, [1, 2, 3]);
    let text = components(&folder);
    for image in ["metal3-bmo:test", "metal3-capm3:test"] {
        assert_eq!(
            text.matches(&format!("image: ghcr.io/metal3-io/{image}\n"))
                .count(),
            1,
            "{image}"
        );
    }
    // The packages are whole, and of that version.
    for chart in ["metal3", "metal3-bmo", "metal3-capm3", "metal3-crds"] {
        let mut command = helm::helm();
        command
            .args(["template", "metal3"])
            .arg(out.join(format!("charts/{chart}-0.3.0.tgz")))
            .args(["-f", "-"]);
        let sim = "ironicSim: {enabled: true}";
        let values = match chart {
            "metal3" => format!("metal3-bmo: {{{sim}}}"),
            "metal3-bmo" => sim.to_owned(),
            _ => String::new(),
        };
        let output = helm::run(command, &values);
        assert!(
            output.status.success(),
            "{chart}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for object in helm::objects(&String::from_utf8(output.stdout).unwrap()) {
            let version = &object["metadata"]["labels"]["app.kubernetes.io/version"];
            assert_eq!(version, "0.3.0", "{chart}: {}", helm::id(&object));
        }
    }
    let sums = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&out)
        .output()
        .unwrap();
    let checked = String::from_utf8(sums.stdout).unwrap();
    assert!(
        sums.status.success() && checked.lines().count() == 10,
        "{checked}"
    );
}
