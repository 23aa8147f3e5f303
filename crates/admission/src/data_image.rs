//! DataImages.

use metal3_api::metal3::data_image::DataImageSpec;
use serde_json::Value;

use crate::problem::Problem;
use crate::{Subject, image, spec};

/// A DataImage.
#[derive(Clone, Debug)]
pub struct DataImage(DataImageSpec);

impl Subject for DataImage {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        spec(object).map(Self)
    }

    fn problems(&self) -> Vec<Problem> {
        image::location("spec.url", &self.0.url).into_iter().collect()
    }
}
