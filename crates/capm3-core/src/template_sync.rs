//! Template sync: what is changed in a Metal3MachineTemplate and counts for machines that have their host already.
//!
//! That is the cleaning mode; everything else of a template needs new machines. [`carried`] says what a template has for
//! its machines, [`plan`] whether a machine gets it, [`changed`] and [`refused`] what is told of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineTemplate};
use metal3_api::names;

use crate::condition::Event;

/// Kind and group of a template, as Cluster API notes them on what it clones.
const GROUP_KIND: &str = "Metal3MachineTemplate.infrastructure.cluster.x-k8s.io";

/// A machine and the objects that decide about it, as they were read together.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is carried.
    pub template: &'a Metal3MachineTemplate,
    /// Where to.
    pub machine: &'a Metal3Machine,
    /// The Cluster that the machine belongs to.
    pub cluster: Option<&'a Cluster>,
}

/// What comes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// It gets this cleaning mode.
    Set(&'a str),
    /// It has it.
    Keep,
    /// It is not touched.
    Leave(Left),
}

/// Why nothing is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The template says nothing about cleaning.
    ModeUnset,
    /// The template goes.
    TemplateDeleting,
    /// The template is paused.
    TemplatePaused,
    /// The machine was cloned from something else, or by hand.
    Foreign,
    /// The machine goes: its host is not asked to change any more.
    MachineDeleting,
    /// `clusterctl move` has copied the machine.
    MachineMoved,
    /// The machine is paused.
    MachinePaused,
    /// Nobody can tell yet whether the Cluster is paused: while objects are moved, one comes after the other.
    ClusterUnknown,
    /// The Cluster is paused.
    ClusterPaused,
}

impl Left {
    /// For people.
    pub const fn why(self) -> &'static str {
        match self {
            Self::ModeUnset => "the template has no automatedCleaningMode",
            Self::TemplateDeleting => "the template is being deleted",
            Self::TemplatePaused => "the template has the annotation cluster.x-k8s.io/paused",
            Self::Foreign => "the machine was not cloned from the template",
            Self::MachineDeleting => "the machine is being deleted",
            Self::MachineMoved => "the machine is being moved to another cluster",
            Self::MachinePaused => "the machine has the annotation cluster.x-k8s.io/paused",
            Self::ClusterUnknown => "the Cluster of the machine is not known",
            Self::ClusterPaused => "the Cluster is paused",
        }
    }
}

/// The cleaning mode that a template has for its machines. One that has none takes none away.
///
/// # Errors
/// Why it has none for anybody.
pub fn carried(template: &Metal3MachineTemplate) -> Result<&str, Left> {
    if template.metadata.deletion_timestamp.is_some() {
        return Err(Left::TemplateDeleting);
    }
    if annotation(&template.metadata, names::ANNOTATION_CAPI_PAUSED).is_some() {
        return Err(Left::TemplatePaused);
    }
    let mode = template.spec.template.spec.automated_cleaning_mode.as_deref();
    mode.filter(|mode| !mode.is_empty()).ok_or(Left::ModeUnset)
}

/// Name of the Metal3MachineTemplate that a machine was cloned from; it is in the namespace of the machine.
pub fn template_name(machine: &Metal3Machine) -> Option<&str> {
    let group_kind = annotation(&machine.metadata, names::ANNOTATION_CLONED_FROM_GROUP_KIND)?;
    let name = annotation(&machine.metadata, names::ANNOTATION_CLONED_FROM_NAME)?;
    (group_kind == GROUP_KIND).then_some(name)
}

/// Whether a machine would change if nothing was paused.
pub fn is_behind(template: &Metal3MachineTemplate, machine: &Metal3Machine) -> bool {
    is_clone(template, machine) && carried(template).is_ok_and(|mode| !has(machine, mode))
}

/// Decides about one machine.
pub fn plan<'a>(view: &View<'a>) -> Step<'a> {
    let View {
        template,
        machine,
        cluster,
    } = *view;
    let mode = match carried(template) {
        Ok(mode) => mode,
        Err(left) => return Step::Leave(left),
    };
    if !is_clone(template, machine) {
        return Step::Leave(Left::Foreign);
    }
    if has(machine, mode) {
        return Step::Keep;
    }
    let annotated = |key| annotation(&machine.metadata, key).is_some();
    let left = if machine.metadata.deletion_timestamp.is_some() {
        Left::MachineDeleting
    } else if annotated(names::ANNOTATION_DELETE_FOR_MOVE) {
        Left::MachineMoved
    } else if annotated(names::ANNOTATION_CAPI_PAUSED) {
        Left::MachinePaused
    } else {
        match cluster {
            None => Left::ClusterUnknown,
            Some(cluster) if cluster.spec.paused == Some(true) => Left::ClusterPaused,
            Some(_) => return Step::Set(mode),
        }
    };
    Step::Leave(left)
}

/// Told of a machine that got a mode.
pub fn changed(template: &str, mode: &str) -> Event {
    Event {
        warning: false,
        reason: "CleaningModeChanged",
        message: format!(
            "spec.automatedCleaningMode is {mode} now, as Metal3MachineTemplate {template} has it"
        ),
    }
}

/// Told of a machine that does not get it.
pub fn refused(template: &str, mode: &str, error: &str) -> Event {
    Event {
        warning: true,
        reason: "CleaningModeRefused",
        message: format!(
            "spec.automatedCleaningMode cannot become {mode}, as Metal3MachineTemplate {template} has it: {error}; \
             correct the Metal3Machine, or delete its Machine to get another"
        ),
    }
}

fn is_clone(template: &Metal3MachineTemplate, machine: &Metal3Machine) -> bool {
    let (template, clone) = (&template.metadata, &machine.metadata);
    template.namespace == clone.namespace && template.name.as_deref() == template_name(machine)
}

fn has(machine: &Metal3Machine, mode: &str) -> bool {
    machine.spec.automated_cleaning_mode.as_deref() == Some(mode)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    type Edit<K> = fn(&mut K);

    fn metadata(name: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            ..ObjectMeta::default()
        }
    }

    fn annotate(metadata: &mut ObjectMeta, key: &str, value: &str) {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(key.into(), value.into());
    }

    fn bare(metadata: &mut ObjectMeta, key: &str) {
        metadata.annotations.get_or_insert_default().remove(key);
    }

    fn template() -> Metal3MachineTemplate {
        let mut template = Metal3MachineTemplate {
            metadata: metadata("t"),
            ..Metal3MachineTemplate::default()
        };
        template.spec.template.spec.automated_cleaning_mode = Some("disabled".into());
        template
    }

    fn machine() -> Metal3Machine {
        let mut machine = Metal3Machine {
            metadata: metadata("m"),
            ..Metal3Machine::default()
        };
        annotate(&mut machine.metadata, names::ANNOTATION_CLONED_FROM_NAME, "t");
        annotate(
            &mut machine.metadata,
            names::ANNOTATION_CLONED_FROM_GROUP_KIND,
            "Metal3MachineTemplate.infrastructure.cluster.x-k8s.io",
        );
        machine.spec.automated_cleaning_mode = Some("metadata".into());
        machine
    }

    /// What comes of a machine of a Cluster that is not paused, and whether it is behind.
    fn outcome(
        template: &Metal3MachineTemplate,
        machine: &Metal3Machine,
    ) -> (Result<Option<String>, Left>, bool) {
        let cluster = Cluster::default();
        let step = plan(&View {
            template,
            machine,
            cluster: Some(&cluster),
        });
        let step = match step {
            Step::Set(mode) => Ok(Some(mode.to_owned())),
            Step::Keep => Ok(None),
            Step::Leave(left) => Err(left),
        };
        (step, is_behind(template, machine))
    }

    #[test]
    fn a_machine_gets_the_mode_of_its_template_unless_it_has_it() {
        let mut machine = machine();
        for before in [Some("metadata"), None, Some("")] {
            machine.spec.automated_cleaning_mode = before.map(str::to_owned);
            let set = (Ok(Some("disabled".to_owned())), true);
            assert_eq!(outcome(&template(), &machine), set, "{before:?}");
        }
        machine.spec.automated_cleaning_mode = Some("disabled".into());
        assert_eq!(outcome(&template(), &machine), (Ok(None), false));
    }

    #[test]
    fn a_template_without_a_mode_takes_none_away() {
        let mut template = template();
        for none in [None, Some(String::new())] {
            template.spec.template.spec.automated_cleaning_mode = none;
            assert_eq!(outcome(&template, &machine()), (Err(Left::ModeUnset), false));
        }
    }

    #[test]
    fn only_what_was_cloned_from_the_template_is_touched() {
        let (name, group_kind) = (
            names::ANNOTATION_CLONED_FROM_NAME,
            names::ANNOTATION_CLONED_FROM_GROUP_KIND,
        );
        let edits: [&dyn Fn(&mut ObjectMeta); 7] = [
            &|machine| machine.namespace = Some("other".into()),
            &|machine| machine.annotations = None,
            &|machine| bare(machine, name),
            &|machine| bare(machine, group_kind),
            &|machine| annotate(machine, name, "u"),
            &|machine| annotate(machine, group_kind, "Metal3MachineTemplate.example.com"),
            &|machine| {
                let kind = "Metal3ClusterTemplate.infrastructure.cluster.x-k8s.io";
                annotate(machine, group_kind, kind);
            },
        ];
        for edit in edits {
            let mut machine = machine();
            edit(&mut machine.metadata);
            let metadata = machine.metadata.clone();
            assert_eq!(
                outcome(&template(), &machine),
                (Err(Left::Foreign), false),
                "{metadata:?}"
            );
        }
    }

    #[test]
    fn what_goes_or_is_paused_is_left_alone() {
        let pause: Edit<ObjectMeta> = |object| annotate(object, names::ANNOTATION_CAPI_PAUSED, "");
        let delete: Edit<ObjectMeta> = |object| object.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let moved: Edit<ObjectMeta> = |object| annotate(object, names::ANNOTATION_DELETE_FOR_MOVE, "");
        for (edit, left) in [(pause, Left::TemplatePaused), (delete, Left::TemplateDeleting)] {
            let mut template = template();
            edit(&mut template.metadata);
            assert_eq!(outcome(&template, &machine()), (Err(left), false));
        }
        for (edit, left) in [
            (pause, Left::MachinePaused),
            (delete, Left::MachineDeleting),
            (moved, Left::MachineMoved),
        ] {
            let mut machine = machine();
            edit(&mut machine.metadata);
            // It is looked at again when that ends.
            assert_eq!(outcome(&template(), &machine), (Err(left), true));
        }
    }

    #[test]
    fn the_cluster_must_be_known_and_not_paused() {
        let (template, machine, mut cluster) = (template(), machine(), Cluster::default());
        let nowhere = View {
            template: &template,
            machine: &machine,
            cluster: None,
        };
        assert_eq!(plan(&nowhere), Step::Leave(Left::ClusterUnknown));
        for (paused, step) in [
            (None, Step::Set("disabled")),
            (Some(true), Step::Leave(Left::ClusterPaused)),
            (Some(false), Step::Set("disabled")),
        ] {
            cluster.spec.paused = paused;
            let view = View {
                cluster: Some(&cluster),
                ..nowhere
            };
            assert_eq!(plan(&view), step, "{paused:?}");
        }
    }

    #[test]
    fn events_name_the_template_the_mode_and_the_remedy() {
        let event = changed("t", "disabled");
        assert!(!event.warning);
        assert_eq!(
            event.message,
            "spec.automatedCleaningMode is disabled now, as Metal3MachineTemplate t has it"
        );
        let event = refused("t", "disabled", "no image");
        assert!(event.warning);
        assert_eq!(
            event.message,
            "spec.automatedCleaningMode cannot become disabled, as Metal3MachineTemplate t has it: no image; correct the \
             Metal3Machine, or delete its Machine to get another"
        );
    }
}
