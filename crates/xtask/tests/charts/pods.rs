//! What every pod of ours must be like: Pod Security "restricted", and more.

use serde_json::{Value, json};

/// The pods that an object makes: where they are said to be, and their spec.
pub(crate) fn specs(object: &Value) -> Vec<(String, Value)> {
    let id = crate::helm::id(object);
    match object["kind"].as_str() {
        Some("Pod") => vec![(id, object["spec"].clone())],
        Some("Deployment" | "Job" | "DaemonSet" | "StatefulSet") => {
            vec![(id, object["spec"]["template"]["spec"].clone())]
        }
        _ => Vec::new(),
    }
}

/// What is wrong with a pod.
pub(crate) fn faults(spec: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |what: bool, fault: &str| {
        if !what {
            faults.push(fault.to_owned());
        }
    };
    let context = &spec["securityContext"];
    want(context["runAsNonRoot"] == true, "runAsNonRoot");
    want(
        context["runAsUser"].as_u64().is_some_and(|id| id > 0),
        "runAsUser",
    );
    want(
        context["seccompProfile"]["type"] == "RuntimeDefault",
        "seccompProfile",
    );
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        want(spec[host] != true, host);
    }
    want(
        spec["automountServiceAccountToken"].is_boolean(),
        "automount is not decided",
    );
    want(spec["enableServiceLinks"] == false, "enableServiceLinks");
    let allowed = ["configMap", "secret", "projected", "emptyDir"];
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    for volume in &volumes {
        let fine = volume
            .as_object()
            .unwrap()
            .keys()
            .all(|key| key == "name" || allowed.contains(&key.as_str()));
        want(fine, "volume of a kind that is not allowed");
    }
    let containers = spec["containers"].as_array().unwrap();
    for container in containers
        .iter()
        .chain(spec["initContainers"].as_array().into_iter().flatten())
    {
        let context = &container["securityContext"];
        want(
            context["allowPrivilegeEscalation"] == false,
            "allowPrivilegeEscalation",
        );
        want(
            context["readOnlyRootFilesystem"] == true,
            "readOnlyRootFilesystem",
        );
        want(context["privileged"] != true, "privileged");
        want(
            context["capabilities"] == json!({"drop": ["ALL"]}),
            "capabilities",
        );
        let resources = &container["resources"];
        want(resources["requests"]["cpu"].is_string(), "no request of CPU");
        want(
            resources["requests"]["memory"].is_string(),
            "no request of memory",
        );
        want(resources["limits"]["memory"].is_string(), "no limit of memory");
        // A pod that runs once has nothing to probe.
        if spec["restartPolicy"] != "Never" {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                want(container[probe].is_object(), probe);
            }
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            want(port["hostPort"].is_null(), "hostPort");
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            want(mount["readOnly"] == true, "a volume can be written");
            want(
                volumes.iter().any(|volume| volume["name"] == mount["name"]),
                "a mount without volume",
            );
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            want(
                variable["valueFrom"]["secretKeyRef"].is_null(),
                "a Secret in the environment",
            );
        }
        for from in container["envFrom"].as_array().into_iter().flatten() {
            want(from["secretRef"].is_null(), "a Secret in the environment");
        }
    }
    faults
}

fn good() -> Value {
    json!({
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
        "containers": [{
            "name": "manager", "startupProbe": {}, "livenessProbe": {}, "readinessProbe": {},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}],
            "env": [{"name": "A", "value": "b"}], "envFrom": [{"configMapRef": {"name": "c"}}],
            "ports": [{"containerPort": 1}],
        }],
    })
}

#[test]
fn the_checker_sees_every_fault() {
    assert_eq!(faults(&good()), Vec::<String>::new());
    let cases = [
        ("/securityContext/runAsNonRoot", json!(false), "runAsNonRoot"),
        ("/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/securityContext/seccompProfile", json!(null), "seccompProfile"),
        ("/automountServiceAccountToken", json!(null), "automount"),
        ("/enableServiceLinks", json!(true), "enableServiceLinks"),
        (
            "/volumes/0",
            json!({"name": "v", "hostPath": {}}),
            "kind that is not allowed",
        ),
        ("/volumes/0/name", json!("w"), "without volume"),
        (
            "/containers/0/securityContext/allowPrivilegeEscalation",
            json!(null),
            "allowPrivilegeEscalation",
        ),
        (
            "/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
            "readOnlyRootFilesystem",
        ),
        (
            "/containers/0/securityContext/capabilities",
            json!({"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            "capabilities",
        ),
        (
            "/containers/0/resources/requests/cpu",
            json!(null),
            "request of CPU",
        ),
        ("/containers/0/resources/limits", json!({}), "limit of memory"),
        ("/containers/0/livenessProbe", json!(null), "livenessProbe"),
        (
            "/containers/0/volumeMounts/0/readOnly",
            json!(null),
            "can be written",
        ),
        (
            "/containers/0/env/0",
            json!({"name": "A", "valueFrom": {"secretKeyRef": {}}}),
            "in the environment",
        ),
        (
            "/containers/0/envFrom/0",
            json!({"secretRef": {}}),
            "in the environment",
        ),
        ("/containers/0/ports/0", json!({"hostPort": 1}), "hostPort"),
    ];
    for (path, bad, fault) in cases {
        let mut pod = good();
        *pod.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = bad;
        let found = faults(&pod);
        assert!(found.iter().any(|it| it.contains(fault)), "{path}: {found:?}");
    }
}
