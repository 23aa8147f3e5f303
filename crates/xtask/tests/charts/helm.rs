//! Real Helm on a copy of the charts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Namespace of all renders.
pub(crate) const NAMESPACE: &str = "capm3-system";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of this test run.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("charts").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program of the tool cache.
pub(crate) fn helm() -> Command {
    let cache = match std::env::var_os("METAL3_TOOLS") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/metal3-tools"),
    };
    let program = cache.join("bin/helm");
    assert!(
        program.exists(),
        "{} is missing: run hack/tools/build.sh helm, or set METAL3_TOOLS",
        program.display()
    );
    let mut command = Command::new(program);
    for folder in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{folder}_HOME"), scratch("home"));
    }
    command
}

/// A copy of the charts in which the umbrella chart has its parts.
pub(crate) fn charts() -> &'static Path {
    static CHARTS: OnceLock<PathBuf> = OnceLock::new();
    CHARTS.get_or_init(|| {
        let copy = scratch("copy");
        fs::remove_dir_all(&copy).unwrap();
        let status = Command::new("cp")
            .arg("-r")
            .args([&root().join("charts"), &copy])
            .status();
        assert!(status.unwrap().success(), "the charts cannot be copied");
        let built = helm()
            .args(["dependency", "build", "--skip-refresh"])
            .arg(copy.join("metal3"))
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "helm dependency build, is Chart.lock stale?\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        copy
    })
}

pub(crate) fn run(mut command: Command, input: &str) -> Output {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// `helm template` with values as YAML: the text, or what Helm complained about.
pub(crate) fn text(chart: &str, values: &str, more: &[&str]) -> Result<String, String> {
    let mut command = helm();
    command
        .args(["template", "metal3"])
        .arg(charts().join(chart))
        .args(["--namespace", NAMESPACE, "-f", "-"])
        .args(more);
    let output = run(command, values);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects of a render.
pub(crate) fn render(chart: &str, values: &str) -> Vec<Value> {
    objects(&text(chart, values, &[]).unwrap_or_else(|error| panic!("{chart} with {values}: {error}")))
}

/// The objects of a text.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(Value::is_object).collect()
}

/// `Kind namespace/name`.
pub(crate) fn id(object: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, meta) = (word(&object["kind"]), &object["metadata"]);
    match meta["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{}", word(&meta["name"])),
        None => format!("{kind} {}", word(&meta["name"])),
    }
}

/// The one of that name.
pub(crate) fn find<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    let found = objects.iter().find(|object| id(object) == wanted);
    found.unwrap_or_else(|| panic!("no {wanted} in {:?}", objects.iter().map(id).collect::<Vec<_>>()))
}
