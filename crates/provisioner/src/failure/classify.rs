use metal3_api::metal3::host::ErrorType;

use super::FailureCause;
use super::words::WORDS;

impl FailureCause {
    /// What the words of a failure mean: those of the backend, or the message that was recorded with this type.
    ///
    /// What is not recognized is at least known to have failed in that operation.
    pub fn of(operation: ErrorType, words: &str) -> Self {
        let words = words.to_lowercase();
        WORDS
            .iter()
            .find(|(phrases, _)| phrases.iter().all(|phrase| words.contains(phrase)))
            .map_or_else(|| Self::unrecognized(operation), |(_, cause)| *cause)
    }

    const fn unrecognized(operation: ErrorType) -> Self {
        match operation {
            ErrorType::Inspection => Self::InspectionFailed,
            ErrorType::Preparation => Self::CleaningFailed,
            ErrorType::Provisioning => Self::DeploymentFailed,
            ErrorType::ProvisionedRegistration => Self::AdoptionFailed,
            ErrorType::PowerManagement => Self::PowerFailed,
            ErrorType::Servicing => Self::ServicingFailed,
            ErrorType::Registration | ErrorType::Detach => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use ErrorType as E;
    use FailureCause as C;

    use super::super::real::REAL;
    use super::*;

    #[test]
    fn real_words_of_ironic_are_understood() {
        for (operation, words, cause) in REAL {
            assert_eq!(FailureCause::of(*operation, words), *cause, "{words}");
        }
    }

    #[test]
    fn every_phrase_is_in_lower_case_and_decides_something() {
        for (row, (phrases, cause)) in WORDS.iter().enumerate() {
            assert!(
                phrases.iter().all(|phrase| *phrase == phrase.to_lowercase()),
                "{phrases:?}"
            );
            let hidden = WORDS.iter().take(row).find(|(earlier, _)| {
                earlier
                    .iter()
                    .all(|word| phrases.iter().any(|phrase| phrase.contains(word)))
            });
            assert!(
                hidden.is_none(),
                "{phrases:?} never decides {cause:?}: {hidden:?} does"
            );
        }
    }

    #[test]
    fn what_a_user_named_decides_nothing() {
        let url = "http://images/secureboot/license/configdrive/deploy_kernel/maintenance/x401.qcow2";
        let words = format!("Image provisioning failed (url: {url}, checksum: {url}.sha256): something new");
        assert_eq!(FailureCause::of(E::Provisioning, &words), C::DeploymentFailed);
    }
}
