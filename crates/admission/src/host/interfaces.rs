//! Network interfaces: rule 25.

use std::collections::BTreeMap;

use metal3_api::metal3::host::NetworkInterface;

use crate::given;
use crate::problem::Problem;

pub(super) fn problems(interfaces: &[NetworkInterface]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let (name, mac) = (
            given(interface.name.as_ref()),
            given(interface.mac_address.as_ref()),
        );
        let field = format!("spec.networkInterfaces[{index}]");
        let mut complain = |text: &str| problems.push(Problem::new(&field, text, (name, mac)));
        match (name, mac) {
            (None, None) => complain("either name or macAddress must be given"),
            (Some(_), Some(_)) => {
                complain("name and macAddress can not be given at the same time; remove one of them")
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        let Some(selector) = mac.or(name) else { continue };
        if let Some(first) = seen.insert(selector.to_lowercase(), index) {
            complain(&format!(
                "duplicate interface {selector:?}: it is in networkInterfaces[{first}], too; remove one of them"
            ));
        }
    }
    problems
}
