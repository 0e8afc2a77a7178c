//! The report as a JUnit file: one suite per service, one case per step.

use std::collections::BTreeMap;

use dm_gateway_client::describe_failure;
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::report::{StepOutcome, StepResult};

/// Returns the runs as JUnit XML.
///
/// # Errors
/// Returns [`SerializeError`] if the XML cannot be serialized.
pub fn to_xml(runs: &[Vec<StepResult>]) -> Result<String, SerializeError> {
    let mut suites = JunitSuites::default();
    suites.add_smoke_runs(runs);
    suites.into_xml("dm smoke")
}

/// The test suites, one per service.
#[derive(Debug, Default)]
pub struct JunitSuites(BTreeMap<String, TestSuite>);

impl JunitSuites {
    /// Adds a case to the suite of a service.
    pub fn add_case(&mut self, service: &str, case: TestCase) {
        self.0
            .entry(service.to_owned())
            .or_insert_with(|| TestSuite::new(service))
            .add_test_case(case);
    }

    /// Adds a case for every step of these runs.
    pub fn add_smoke_runs(&mut self, runs: &[Vec<StepResult>]) {
        for (number, steps) in runs.iter().enumerate() {
            for step in steps {
                let status = match &step.outcome {
                    StepOutcome::Passed => TestCaseStatus::success(),
                    StepOutcome::Skipped => TestCaseStatus::skipped(),
                    StepOutcome::Failed(failure) => {
                        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                        status.set_message(failure.message.as_str());
                        status.set_description(describe_failure(failure));
                        status
                    }
                };
                let name = if runs.len() > 1 {
                    format!("{} (run {})", step.name, number + 1)
                } else {
                    step.name.to_owned()
                };
                let mut case = TestCase::new(name, status);
                case.set_classname(format!("smoke.{}", step.service))
                    .set_time(step.duration);
                self.add_case(step.service, case);
            }
        }
    }

    /// Returns the suites as XML.
    ///
    /// # Errors
    /// Returns [`SerializeError`] if the XML cannot be serialized.
    pub fn into_xml(self, name: &str) -> Result<String, SerializeError> {
        let mut report = Report::new(name);
        report.add_test_suites(self.0.into_values());
        report.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_gateway_client::RequestFailure;

    use super::*;

    fn step(name: &'static str, outcome: StepOutcome) -> StepResult {
        StepResult {
            service: "order",
            name,
            duration: Duration::from_millis(12),
            outcome,
        }
    }

    #[test]
    fn failed_step_has_its_reason_escaped() {
        let mut failure = RequestFailure::new("the order is not <RESERVED>");
        failure.request = Some("GET /api/v1/orders/ord_9001".into());
        failure.status = Some(500);
        let text = to_xml(&[vec![
            step("places an order", StepOutcome::Passed),
            step("reserves stock", StepOutcome::Failed(failure)),
            step("ships", StepOutcome::Skipped),
        ]])
        .unwrap();
        insta::assert_snapshot!(text, @r###"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dm smoke" tests="3" skipped="1" failures="1" errors="0">
            <testsuite name="order" tests="3" skipped="1" errors="0" failures="1">
                <testcase name="places an order" classname="smoke.order" time="0.012"/>
                <testcase name="reserves stock" classname="smoke.order" time="0.012">
                    <failure message="the order is not &lt;RESERVED&gt;">the order is not &lt;RESERVED&gt;
        GET /api/v1/orders/ord_9001: 500</failure>
                </testcase>
                <testcase name="ships" classname="smoke.order" time="0.012">
                    <skipped/>
                </testcase>
            </testsuite>
        </testsuites>
        "###);
    }
}
