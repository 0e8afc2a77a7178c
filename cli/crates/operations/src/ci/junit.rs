//! The report as a JUnit file: one suite per service, with a case for its start and one for
//! each step.

use dm_smoke::junit::JunitSuites;
use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus};

use super::report::{CiReport, NodeOutcome};

/// Returns the report as JUnit XML.
///
/// # Errors
/// Returns [`SerializeError`] if the XML writer fails.
pub fn to_xml(report: &CiReport) -> Result<String, SerializeError> {
    let mut suites = JunitSuites::default();
    for component in &report.components {
        let status = match &component.outcome {
            NodeOutcome::Ready => TestCaseStatus::success(),
            NodeOutcome::NotReached => TestCaseStatus::skipped(),
            NodeOutcome::Failed(failure) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(failure.message.as_str());
                let mut lines = vec![failure.message.clone()];
                lines.extend(
                    failure
                        .probe
                        .iter()
                        .map(|probe| format!("last probe: {probe}")),
                );
                let source_errors = failure.source_errors.iter();
                lines.extend(source_errors.map(|error| error.rendered.clone()));
                lines.extend(failure.log.iter().cloned());
                status.set_description(lines.join("\n"));
                status
            }
        };
        let mut case = TestCase::new("is ready", status);
        case.set_classname(format!("up.{}", component.name))
            .set_time(component.took);
        suites.add_case(&component.name, case);
    }
    suites.add_smoke_runs(&report.smoke);
    // A stage that failed without a failed component belongs to no service.
    for stage in report
        .stages
        .iter()
        .filter(|_| report.failures().count() == 0)
    {
        let Some(error) = &stage.error else { continue };
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(error.as_str());
        let mut case = TestCase::new(stage.name.as_str(), status);
        case.set_classname("dm.ci").set_time(stage.took);
        suites.add_case("dm", case);
    }
    suites.into_xml("dm ci")
}

#[cfg(test)]
mod tests {
    use super::super::examples::report;
    use super::*;

    #[test]
    fn junit_has_a_suite_per_service_with_its_start_and_steps() {
        insta::assert_snapshot!(to_xml(&report()).unwrap(), @r###"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dm ci" tests="6" skipped="2" failures="2" errors="0">
            <testsuite name="gateway" tests="1" skipped="1" errors="0" failures="0">
                <testcase name="is ready" classname="up.gateway" time="0.000">
                    <skipped/>
                </testcase>
            </testsuite>
            <testsuite name="order" tests="4" skipped="1" errors="0" failures="2">
                <testcase name="is ready" classname="up.order" time="2.500">
                    <failure message="exited with code 1 before it was ready">exited with code 1 before it was ready
        last probe: connection refused
        no such table</failure>
                </testcase>
                <testcase name="an order is placed" classname="smoke.order" time="0.120"/>
                <testcase name="the order is &lt;RESERVED&gt;" classname="smoke.order" time="0.120">
                    <failure message="it is | CREATED">it is | CREATED</failure>
                </testcase>
                <testcase name="it ships" classname="smoke.order" time="0.120">
                    <skipped/>
                </testcase>
            </testsuite>
            <testsuite name="postgres" tests="1" skipped="0" errors="0" failures="0">
                <testcase name="is ready" classname="up.postgres" time="1.500"/>
            </testsuite>
        </testsuites>
        "###);
    }

    #[test]
    fn junit_reports_a_stage_that_failed_without_components() {
        let mut report = report();
        report.components.clear();
        report.smoke.clear();
        let xml = to_xml(&report).unwrap();
        assert!(xml.contains(r#"<error message="order failed"/>"#), "{xml}");
    }
}
