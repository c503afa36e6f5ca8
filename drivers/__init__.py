"""Drivers: one instrument each. This table is all that a listing needs; nothing is imported."""

DRIVERS = {
    "picoquant.multiharp150": "photonlink.drivers.picoquant.multiharp150:MultiHarp150",
    "sfifteen.irspd1": "photonlink.drivers.sfifteen.irspd1:Irspd1",
    "sfifteen.tdc1": "photonlink.drivers.sfifteen.tdc1:Tdc1",
    "toptica.dlc_pro": "photonlink.drivers.toptica.dlc_pro:DlcPro",
}
