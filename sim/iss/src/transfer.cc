// LDP, LDW, LDA, STA.
#include <cstring>

#include "semantics.h"

namespace octile::sim::iss {

// ---- LDP: `count` entries, one contiguous transfer ----

MaybeTrap ReadLdp(Machine& m, const isa::Ldp& op, Work& work) {
  const uint64_t bytes = static_cast<uint64_t>(op.count) * m.EntryBytes(op.target);
  return m.ReadRow(Port::kPrm, op.region, op.offset, bytes, &work.data);
}

void WriteLdp(Machine& m, const isa::Ldp& op, const Work& work) {
  std::memcpy(const_cast<uint8_t*>(m.Entry(op.target, static_cast<uint32_t>(op.index))),
              work.data.data(), work.data.size());
}

// ---- LDW: tiles into the ring, in bursts ----

namespace {

uint64_t BytesOf(const Machine& m, const isa::Ldw& op) {
  return static_cast<uint64_t>(op.tiles) * m.n * m.n;
}

uint32_t NextBurst(const Machine& m, const isa::Ldw& op, const Work& work) {
  const auto offset = static_cast<uint32_t>(op.offset + work.done);
  return Machine::BurstBytes(offset, BytesOf(m, op) - work.done);
}

}  // namespace

bool CanReadLdw(const Machine& m, const isa::Ldw& op, const Work& work) {
  return m.ring_free() >= NextBurst(m, op, work);
}

bool DoneLdw(const Machine& m, const isa::Ldw& op, const Work& work) {
  return work.done == BytesOf(m, op);
}

MaybeTrap ReadLdw(Machine& m, const isa::Ldw& op, Work& work) {
  const size_t tile = size_t{m.n} * m.n;
  std::vector<int16_t> codes(tile);
  while (!DoneLdw(m, op, work) && CanReadLdw(m, op, work)) {
    const uint32_t burst = NextBurst(m, op, work);
    const auto offset = static_cast<uint32_t>(op.offset + work.done);
    const size_t at = m.partial.size();
    m.partial.resize(at + burst);
    OCTILE_ISS_RETURN_IF_TRAP(
        m.ReadBurst(Port::kWgt, op.region, offset, burst, m.partial.data() + at));
    work.done += burst;
    size_t taken = 0;
    for (; m.partial.size() - taken >= tile; taken += tile) {
      const uint8_t* bytes = m.partial.data() + taken;
      for (size_t i = 0; i < tile; ++i)
        codes[i] =
            static_cast<int16_t>(Code(bytes[i], op.w_signed) - Code(op.zw, op.w_signed));  // N1
      m.ring.push_back({numerics::bulk::PackedWeights(codes.data(), m.n, m.n, m.n, 1)});
    }
    m.partial.erase(m.partial.begin(), m.partial.begin() + static_cast<ptrdiff_t>(taken));
  }
  return std::nullopt;
}

// ---- LDA and STA: n2 planes of n1 rows of n0 beats ----

namespace {

template <class Op>
uint32_t RowOffset(const Op& op, int plane, int row) {
  return op.offset + static_cast<uint32_t>(plane) * op.mem_stride2 +
         static_cast<uint32_t>(row) * op.mem_stride1;
}

// Calls f(memory offset, vector address) for every row.
template <class Op, class F>
MaybeTrap ForEachRow(const Op& op, F f) {
  for (int plane = 0; plane < op.n2; ++plane) {
    RowPointer pointer(op.buf_row0, op.buf_wrap);
    for (int row = 0; row < op.n1; ++row) {
      OCTILE_ISS_RETURN_IF_TRAP(
          f(RowOffset(op, plane, row),
            Wrap16(int64_t{op.buf_addr} + int64_t{plane} * op.buf_stride2 + pointer.value())));
      pointer.Step(op.buf_stride1);
    }
  }
  return std::nullopt;
}

}  // namespace

MaybeTrap ReadLda(Machine& m, const isa::Lda& op, Work& work) {
  return ForEachRow(op, [&](uint32_t offset, uint32_t address) -> MaybeTrap {
    for (int beat = 0; beat < op.n0; ++beat)
      work.vectors.addresses.push_back(Wrap16(int64_t{address} + beat));
    return m.ReadRow(Port::kAct, op.region, offset, static_cast<uint64_t>(op.n0) * m.n,
                     &work.vectors.data);
  });
}

MaybeTrap WriteLda(Machine& m, const isa::Lda& op, const Work& work) {
  const Claim claim = m.ClaimOf(op.buf_bank, op.buf_banks);
  const uint8_t* data = work.vectors.data.data();
  for (uint32_t address : work.vectors.addresses) {
    OCTILE_ISS_RETURN_IF_TRAP(m.Check(claim, address));
    std::memcpy(m.Vector(address), data, m.n);
    data += m.n;
  }
  return std::nullopt;
}

MaybeTrap ReadSta(Machine& m, const isa::Sta& op, Work& work) {
  const Claim claim = m.ClaimOf(op.buf_bank, op.buf_banks);
  return ForEachRow(op, [&](uint32_t offset, uint32_t address) -> MaybeTrap {
    for (uint64_t left = static_cast<uint64_t>(op.n0) * m.n; left > 0;) {
      const uint32_t burst = Machine::BurstBytes(offset, left);
      OCTILE_ISS_RETURN_IF_TRAP(
          m.CheckRegion(op.region, offset, burst, Machine::Permission::kWrite));
      work.memory.bursts.push_back({m.Address(op.region, offset), burst});
      for (uint32_t beat = 0; beat < burst / m.n; ++beat) {
        OCTILE_ISS_RETURN_IF_TRAP(m.Check(claim, address));
        work.memory.data.insert(work.memory.data.end(), m.Vector(address), m.Vector(address) + m.n);
        address = Wrap16(int64_t{address} + 1);
      }
      offset += burst;
      left -= burst;
    }
    return std::nullopt;
  });
}

MaybeTrap WriteSta(Machine& m, const Work& work) {
  const uint8_t* data = work.memory.data.data();
  for (const MemoryWrites::Burst& burst : work.memory.bursts) {
    OCTILE_ISS_RETURN_IF_TRAP(m.WriteBurst(burst.address, {data, burst.bytes}));
    data += burst.bytes;
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
