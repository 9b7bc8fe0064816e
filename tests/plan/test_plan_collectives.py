"""Reading programs: every way in which XLA writes collectives, groups and loops."""

from __future__ import annotations

import pytest

from alchemint_jax.plan import collectives, hlo

PROGRAM = """HloModule jit_train_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (input: bf16[128,384]) -> bf16[32,384] {
  %input = bf16[128,384]{1,0} parameter(0)
  %all-reduce.1 = bf16[128,384]{1,0:T(8,128)} all-reduce(%input), channel_id=142, replica_groups={{0,1,2,3},{4,5,6,7}}, use_global_device_ids=true, to_apply=%add
  ROOT %slice = bf16[32,384]{1,0} dynamic-slice(%all-reduce.1, %c), dynamic_slice_sizes={32,384}
}

%start (p: bf16[96,384]) -> (bf16[96,384], bf16[384,384]) {
  %p = bf16[96,384]{1,0} parameter(0)
  %all-gather.1 = bf16[384,384]{1,0} all-gather(%p), channel_id=9, replica_groups=[2,4]<=[8], dimensions={0}, frontend_attributes={chain_id="1"}
  ROOT %custom-call.1 = (bf16[96,384], bf16[384,384]) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%middle (p: bf16[96,384]) -> bf16[384,384] {
  %p.1 = bf16[96,384]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[384,384]{1,0} all-gather(%p.1), channel_id=9, replica_groups=[2,4]<=[8], dimensions={0}, frontend_attributes={chain_id="1"}
}

%condition (t: (s32[], bf16[96,384])) -> pred[] {
  %t = (s32[], bf16[96,384]) parameter(0)
  %limit = s32[]{:T(128)} constant(30)
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}

%body (t: (s32[], bf16[96,384])) -> (s32[], bf16[96,384]) {
  %t.1 = (s32[], bf16[96,384]) parameter(0)
  %async-collective-start = (bf16[96,384], bf16[384,384]) fusion(%x), kind=kCustom, calls=%start
  %fusion.2 = bf16[384,384] fusion(%x), kind=kOutput, calls=%middle
  %fusion.3 = bf16[32,384] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %tuple = (s32[], bf16[96,384]) tuple(%i, %x)
}

ENTRY %main (x: bf16[96,384]) -> f32[] {
  %x = bf16[96,384]{1,0} parameter(0)
  %while.1 = (s32[], /*index=1*/bf16[96,384]) while(%tuple.1), condition=%condition, body=%body
  %all-to-all.1 = f32[1,4,64]{2,1,0} all-to-all(%y), channel_id=3, replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, dimensions={1}
  %all-reduce.2 = (f32[64], f32[]) all-reduce(%y, %z), channel_id=4, replica_groups=mesh['axis_0'=1,'axis_1'=4,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_2'}, to_apply=%add
  %collective-permute-start = (f32[64], f32[64], u32[], u32[]) collective-permute-start(%y), channel_id=5, source_target_pairs={{0,1},{1,0}}
  %ag-start = (f32[16], f32[64]) all-gather-start(%y), channel_id=6, replica_groups={{0,2,4,6},{1,3,5,7}}, dimensions={0}
  %ag-done = f32[64] all-gather-done(%ag-start)
  %reduce-scatter.1 = f32[16] reduce-scatter(%y), channel_id=7, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}, to_apply=%add
  %send.1 = (bf16[6,8,128]{2,1,0:T(8,128)(2,1)}, u32[], token[]) send(%b, %after-all.4), channel_id=6, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_reduce_operation="SUM",_xla_megascale_target="{1:2,4}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %r = f32[] constant(0)
}
"""  # noqa: E501


def test_every_collective_is_found_once_with_its_group_size_and_number_of_runs():
    found = {(c.kind, c.size, c.group, c.times) for c in collectives.find(PROGRAM)}
    assert found == {
        ("reduce-scatter", 128 * 384 * 2, (0, 1, 2, 3), 30),
        ("all-gather", 384 * 384 * 2, (0, 1, 2, 3), 30),
        ("all-to-all", 4 * 64 * 4, (0, 1, 2, 3), 1),
        ("all-reduce", 64 * 4 + 4, (0, 4), 1),
        ("collective-permute", 64 * 4, (0, 1), 1),
        ("all-gather", 64 * 4, (0, 2, 4, 6), 1),
        ("all-reduce", 6 * 8 * 128 * 2, (1, 2, 4), 1),  # three slices
        ("reduce-scatter", 64 * 4, (0, 2, 4, 6), 1),
    }


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-gather", 75), ("reduce-scatter", 75), ("all-reduce", 150), ("collective-permute", 100)],
)
def test_bytes_sent_are_those_of_rings(kind, sent):
    one = collectives.Collective(kind, 100.0, (0, 1, 2, 3), 1.0)
    assert one.sent == sent
    assert collectives.Collective(kind, 100.0, (0, 1, 2, 3), 30.0).sent == 30 * sent
    assert collectives.Collective(kind, 100.0, (0,), 1.0).sent == 0


def test_totals_are_by_kind_and_network():
    found = collectives.find(PROGRAM)
    totals = collectives.totals(found, lambda group: ("near", 1e6) if 1 in group else ("far", 1e3))
    assert totals["all-gather near"]["count"] == 30 and totals["all-gather far"]["count"] == 1
    for entry, speed in ((totals["all-gather near"], 1e6), (totals["all-gather far"], 1e3)):
        assert entry["seconds"] == pytest.approx(entry["sent"] / speed)
    assert collectives.totals(found, lambda _: ("near", 1e6), ("dcn", 1e9))["all-reduce dcn"][
        "payload"
    ] == (6 * 8 * 128 * 2)
    assert sum(entry["sent"] for entry in totals.values()) == sum(c.sent for c in found)


def test_the_metadata_of_kernels_is_no_end_of_anything():
    kernel = """  %splash.1 = f32[8] custom-call(%x), frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 1024}"
}}, metadata={op_name="splash"}
"""
    place = "  %all-to-all.1 ="
    assert collectives.find(PROGRAM.replace(place, kernel + place)) == collectives.find(PROGRAM)


def test_a_loop_that_xla_counted_is_believed():
    text = PROGRAM.replace(
        "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}'
    )
    computations, entry = hlo.parse(text)
    assert hlo.runs(computations, entry)["body"] == 7
